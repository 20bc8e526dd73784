"""The HDF5 files of a source, found by a folder's name or a pattern."""

import functools
import glob
import itertools
import os

import h5py

from gato_tokenize.storage.address import full, is_address
from pipelines.sources.formats.hdf5 import child, planned
from pipelines.sources.formats.matching import Matches, matching
from pipelines.sources.formats.places import files_below, is_file
from pipelines.sources.on_disk import OnDisk
from pipelines.sources.source import SourceError

SUFFIXES = (".hdf5", ".h5")
LOOK = 3  # files that are tried to find out what a folder holds
MEMBERS = 32  # of a group, of which the names are looked at


def hdf5_files(argument: str) -> Matches:
    """The files of a pattern, or the HDF5 files below a folder; SourceError if there are none."""
    if is_address(argument):
        return _at_address(full(argument))
    if not os.path.isdir(argument):
        return matching(argument)
    below = os.path.join(glob.escape(argument), "**", "*")
    found = [suffix for suffix in SUFFIXES if glob.glob(below + suffix, recursive=True)]
    matches = [matching(below + suffix) for suffix in found or SUFFIXES[:1]]
    files = sorted((file for one in matches for file in one.files), key=os.fsencode)
    return Matches(files, [name for one in matches for name in one.left_out])


def _at_address(argument: str) -> Matches:
    if not glob.has_magic(argument) and not is_file(argument):
        names = [name for name, _ in files_below(argument) if name.endswith(SUFFIXES)]
        shown = [name for name in names if not any(part.startswith(".") for part in name.split("/"))]
        if shown:
            return Matches([f"{argument.rstrip('/')}/{name}" for name in shown], [])
    return matching(argument)


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
