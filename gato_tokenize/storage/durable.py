"""Files that are whole or absent: on a disk, written under a temporary name in the same folder, synced, then renamed;
in a store, written to a local file without a name, then uploaded."""

import contextlib
import os
import tempfile
import uuid
from collections.abc import Iterator
from typing import BinaryIO

from gato_tokenize.storage.store_path import TEMPORARY, Place, StorePath, place


@contextlib.contextmanager
def durable_file(path: "str | os.PathLike[str]") -> Iterator[BinaryIO]:
    """Open a new file that appears as `path`, durably, when the block ends well; otherwise nothing remains of it.

    Two writers of one path do not disturb each other: each has its own temporary name, and the later rename wins.
    """
    path = place(path)
    if isinstance(path, StorePath):
        with tempfile.TemporaryFile() as local:  # nothing of it remains, however this process ends
            yield local
            path.upload(local)
        return
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


def sync_folder(folder: Place) -> None:
    """Make the names in a local folder durable. Until then a power cut may undo a rename."""
    if isinstance(folder, StorePath):
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
