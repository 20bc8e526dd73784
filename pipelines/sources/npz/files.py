"""SetFiles: the .npz files, or folders of .npy files, that a name, a pattern or a folder stands for."""

import dataclasses
import glob
import os

from pipelines.sources.formats.matching import matching
from pipelines.sources.formats.split_names import name_of, split_of
from pipelines.sources.npz.array_set import SUFFIX
from pipelines.sources.source import SourceError

ARCHIVE = ".npz"


@dataclasses.dataclass(frozen=True)
class SetFiles:
    """paths: {path: its split, "" if nothing says one}, in order. name: what they are called together. notes: a line
    for whatever is left out."""

    paths: dict[str, str]
    name: str
    notes: tuple[str, ...]

    @property
    def splits(self) -> list[str]:
        """The splits; those of no split are in `train` if others have one."""
        found = dict.fromkeys(self.paths.values())
        return list(dict.fromkeys(name or "train" for name in found)) if any(found) else []


def find_sets(argument: str) -> SetFiles:
    """Find .npz files: those of a name or pattern, or below a folder; where there are none, folders of .npy files.

    Raises SourceError if there are neither.
    """
    folder = os.path.isdir(argument)
    below = os.path.join(glob.escape(argument), "**", "*") if folder else ""
    if folder and not any(glob.glob(below + suffix, recursive=True) for suffix in (ARCHIVE, SUFFIX)):
        raise SourceError(f"no file below {argument!r} ends in {ARCHIVE} or {SUFFIX}")
    archives = folder and glob.glob(below + ARCHIVE, recursive=True)
    found = matching(below + (ARCHIVE if archives else SUFFIX) if folder else argument)
    arrays = [path for path in found.files if path.endswith(SUFFIX)]
    others = [path for path in found.files if not path.endswith(SUFFIX)]
    if not folder and len(found.files) == 1 and arrays:
        raise SourceError(f"{arrays[0]} is one array: give the folder that holds all arrays of an episode")
    units = sorted({*others, *(os.path.dirname(path) or "." for path in arrays)}, key=os.fsencode)
    notes = list(found.left_out)
    if archives and glob.glob(below + SUFFIX, recursive=True):
        notes.append(f"the {SUFFIX} files below {argument} are left out: the {ARCHIVE} files are read")
    root = os.path.normpath(argument) if folder else ""
    splits = {path: split_of(path, root) if path not in (root, argument) else "" for path in units}
    parent = os.path.commonpath([os.path.dirname(path) for path in units])
    stem = os.path.splitext(os.path.basename(units[0]))[0]
    name = name_of(stem) if len(units) == 1 else ""
    return SetFiles(splits, name or name_of(parent) or "npz", tuple(notes))
