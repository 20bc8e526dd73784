"""SetFiles: the .npz files, or folders of .npy files, that a name, a pattern or a folder stands for."""

import dataclasses
import os

from gato_tokenize.storage.address import is_address
from pipelines.sources.errors import SourceError
from pipelines.sources.formats.matching import files_in
from pipelines.sources.formats.places import is_folder
from pipelines.sources.formats.split_names import name_of, split_of
from pipelines.sources.npz.array_set import SUFFIX

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
    folder = is_folder(argument)
    found = files_in(argument, (ARCHIVE, SUFFIX))
    arrays = [path for path in found.files if path.endswith(SUFFIX)]
    others = [path for path in found.files if not path.endswith(SUFFIX)]
    if not folder and len(found.files) == 1 and arrays:
        raise SourceError(f"{arrays[0]} is one array: give the folder that holds all arrays of an episode")
    notes = list(found.left_out)
    if folder and others and arrays:
        arrays = []
        notes.append(f"the {SUFFIX} files below {argument} are left out: the {ARCHIVE} files are read")
    units = sorted({*others, *(os.path.dirname(path) or "." for path in arrays)}, key=os.fsencode)
    root = "" if not folder else argument.rstrip("/") if is_address(argument) else os.path.normpath(argument)
    splits = {path: split_of(path, root) if path not in (root, argument) else "" for path in units}
    parent = os.path.commonpath([os.path.dirname(path) for path in units])
    stem = os.path.splitext(os.path.basename(units[0]))[0]
    name = name_of(stem) if len(units) == 1 else ""
    return SetFiles(splits, name or name_of(parent) or "npz", tuple(notes))
