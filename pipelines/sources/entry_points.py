"""What installed packages offer as sources."""

import functools
import importlib.metadata
import os
import sys
from importlib.metadata import EntryPoints

ENTRY_POINTS = "gato_toolchain.sources"  # the group by which installed packages offer sources of their own


def offered() -> EntryPoints:
    """Find the entry points of the group. All installed packages are looked through only where one came or went."""
    return _offered(tuple((folder, _changed(folder or os.curdir)) for folder in sys.path))


@functools.lru_cache(maxsize=1)
def _offered(folders: tuple[tuple[str, int], ...]) -> EntryPoints:
    return importlib.metadata.entry_points(group=ENTRY_POINTS)


def _changed(folder: str) -> int:
    """Tell when something was put into a folder or removed, nanoseconds; 0 if there is none."""
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0
