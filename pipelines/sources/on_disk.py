"""OnDisk: what lies at a path, as far as names and the beginnings of small files tell it."""

import functools
import glob
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

MOST_FILES = 4096  # below a folder, of which the names are looked at
MOST_BYTES = 2**20  # of a file that is looked into


class OnDisk:
    """A file or folder, for `Source.recognises`. Each fact is looked up once, for all sources; no data is read."""

    def __init__(self, path: str) -> None:
        self.path = path

    @functools.cached_property
    def is_folder(self) -> bool:
        return os.path.isdir(self.path)

    @functools.cached_property
    def names(self) -> list[str]:
        """The names in the folder, in order; none of a file."""
        return sorted(os.listdir(self.path)) if self.is_folder else []

    @functools.cached_property
    def files(self) -> list[str]:
        """The paths of the first MOST_FILES files below the folder, those of a folder before those below it; of a file,
        its own path. Hidden files and folders are left out."""
        return list(itertools.islice(_below(self.path, set()), MOST_FILES)) if self.is_folder else [self.path]

    def ending(self, *endings: str) -> list[str]:
        """Those of `files` that end so."""
        return [path for path in self.files if path.endswith(endings)]

    def has(self, name: str) -> bool:
        """Whether the folder has a file of this name, which may hold `/`."""
        return os.path.isfile(os.path.join(self.path, name))

    def pattern(self, ending: str) -> str:
        """The pattern, as `formats.matching` takes it, of the files below the folder that end so; of a file, its
        path."""
        if not self.is_folder:
            return self.path
        flat = all(os.path.dirname(path) == self.path.rstrip("/") for path in self.ending(ending))
        return os.path.join(glob.escape(self.path), *([] if flat else ["**"]), f"*{ending}")

    def described(self) -> str:
        """Say in a few words what was found, for a message."""
        if not self.is_folder:
            return f"it is a file of {os.path.getsize(self.path):,} bytes"
        shown = [f"{name}/" if os.path.isdir(os.path.join(self.path, name)) else name for name in self.names[:8]]
        more = [f"{len(self.names) - 8} more"] if len(self.names) > 8 else []
        return f"it holds {', '.join([*shown, *more])}" if shown else "it is an empty folder"


def json_object(path: str) -> dict[str, Any]:
    """The object in a small JSON file, or in the first line of JSON lines; {} if there is none."""
    try:
        with open(path, "rb") as file:
            head = file.read(MOST_BYTES)
    except OSError:
        return {}
    for text in (head, head.split(b"\n", 1)[0]):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            continue
        return found if isinstance(found, dict) else {}
    return {}


def only_ending(paths: Sequence[str], endings: Sequence[str]) -> str | None:
    """The one of `endings`, the longest that fits, that all the paths have; None if they differ.

    >>> only_ending(["a.tar.gz", "b.tar.gz"], (".tar", ".tar.gz")), only_ending(["a.tar", "b.tgz"], (".tar", ".tgz"))
    ('.tar.gz', None)
    """
    found = {max((ending for ending in endings if path.endswith(ending)), key=len, default="") for path in paths}
    return found.pop() or None if len(found) == 1 else None


def _below(folder: str, seen: set[str]) -> Iterator[str]:
    if (place := os.path.realpath(folder)) in seen:  # links may lead in circles
        return
    seen.add(place)
    try:
        paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if not name.startswith(".")]
    except OSError:
        return
    yield from (path for path in paths if os.path.isfile(path))
    for path in paths:
        if os.path.isdir(path):
            yield from _below(path, seen)
