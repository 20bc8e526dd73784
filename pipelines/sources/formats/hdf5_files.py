"""The HDF5 files of a source: found by a folder's name or a pattern, and fingerprinted without being read."""

import glob
import hashlib
import json
import os
from typing import Any

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


def fingerprint(argument: str, sizes: dict[str, int], found: Any = None) -> dict[str, Any]:
    """Return the names and sizes of files as one input, with what planning found in them; the rest of their content is
    read only when it is converted."""
    digest = hashlib.sha256(json.dumps([sorted(sizes.items()), found]).encode()).hexdigest()
    return {"uri": f"{argument}#files", "bytes": sum(sizes.values()), "sha256": digest}
