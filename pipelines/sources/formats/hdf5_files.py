"""What the HDF5 files at a path hold, by the names of their members."""

import functools
import itertools
import os

import h5py

from pipelines.sources.errors import SourceError
from pipelines.sources.formats.hdf5 import child, planned
from pipelines.sources.on_disk import OnDisk

SUFFIXES = (".hdf5", ".h5")
LOOK = 3  # files that are tried to find out what a folder holds
MEMBERS = 32  # of a group, of which the names are looked at


def members_of(lying: OnDisk) -> frozenset[str]:
    """The paths of the first members of the first HDF5 file at a path that can be read: "actions" of an array, "data/"
    of a group. None if there is no such file; SourceError if none of the first few can be read."""
    files = lying.ending(*SUFFIXES)[:LOOK]
    for path in files:
        try:
            status = os.stat(path)
            return _members(path, status.st_size, status.st_mtime_ns)
        except SourceError:
            if path == files[-1]:
                raise
    return frozenset()


@functools.lru_cache(maxsize=16)
def _members(path: str, size: int, time: int) -> frozenset[str]:
    """size, time: of the file, which is looked into again if it has changed."""
    return planned(path, _listed)


def _listed(group: h5py.Group, above: str = "", depth: int = 3) -> frozenset[str]:
    found: set[str] = set()
    for key in itertools.islice(group, MEMBERS):
        try:
            node = child(group, key, "")
        except ValueError:  # a link
            continue
        name = f"{above}{key}"
        if isinstance(node, h5py.Dataset):
            found.add(name)
        elif depth > 1:
            found |= {f"{name}/", *_listed(node, f"{name}/", depth - 1)}
    return frozenset(found)
