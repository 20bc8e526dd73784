"""Files that are whole or absent: written under a temporary name in the same folder, synced, then renamed."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

TEMPORARY = ".tmp-"  # part of the name of every file that is not whole yet


@contextlib.contextmanager
def durable_file(path: "str | os.PathLike[str]") -> Iterator[BinaryIO]:
    """Open a new file that appears as `path`, durably, when the block ends well; otherwise nothing remains of it.

    Two writers of one path do not disturb each other: each has its own temporary name, and the later rename wins.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}{TEMPORARY}{uuid.uuid4().hex}")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Until then a power cut may undo a rename."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
