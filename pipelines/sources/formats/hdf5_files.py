"""The HDF5 files of a source, found by a folder's name or a pattern."""

import glob
import os

from pipelines.sources.formats.matching import Matches, matching

SUFFIXES = (".hdf5", ".h5")


def hdf5_files(argument: str) -> Matches:
    """The files of a pattern, or the HDF5 files below a folder; SourceError if there are none."""
    if not os.path.isdir(argument):
        return matching(argument)
    below = os.path.join(glob.escape(argument), "**", "*")
    found = [suffix for suffix in SUFFIXES if glob.glob(below + suffix, recursive=True)]
    matches = [matching(below + suffix) for suffix in found or SUFFIXES[:1]]
    files = sorted((file for one in matches for file in one.files), key=os.fsencode)
    return Matches(files, [name for one in matches for name in one.left_out])
