"""DataFiles: the Parquet and Arrow files that a name, a pattern or a folder stands for, and the split of each."""

import dataclasses
import json
import os
from collections.abc import Iterable
from typing import Any

from gato_tokenize.storage.address import RemoteError, is_address
from gato_tokenize.storage.remote_file import open_file
from pipelines.sources.errors import SourceError
from pipelines.sources.formats.matching import files_in
from pipelines.sources.formats.places import Size, is_file, is_folder, known_sizes, sizes_of
from pipelines.sources.formats.split_names import SHARD, name_of, split_of

SUFFIXES = (".parquet", ".arrow", ".feather")
STATE, SPLITS = "state.json", "dataset_dict.json"  # of a folder that `datasets.save_to_disk` wrote
CACHE = "cache-"  # how files begin that the `datasets` library keeps beside a dataset for itself


@dataclasses.dataclass(frozen=True)
class DataFile:
    """split: "" if nothing says one. goes_on: whether its rows go on after those of the file before it, because both
    are shards of one table. bytes: None if it is missing."""

    path: str
    split: str
    goes_on: bool
    bytes: Size | None


@dataclasses.dataclass(frozen=True)
class DataFiles:
    """files: in order. name: what they are called together. notes: a line for whatever is left out or missing."""

    files: tuple[DataFile, ...]
    name: str
    notes: tuple[str, ...]

    @property
    def splits(self) -> list[str]:
        """The splits of the files, in their order; those of no split are in `train` if others have one."""
        found = dict.fromkeys(file.split for file in self.files)
        return list(dict.fromkeys(name or "train" for name in found)) if any(found) else []


def find_files(argument: str) -> DataFiles:
    """Find the files of a name, a pattern, or a folder, also one that `datasets.save_to_disk` wrote.

    Raises SourceError if there are none, or if a folder's own list of them cannot be read.
    """
    top = argument.rstrip("/") if is_address(argument) else os.path.normpath(argument)
    if is_file(os.path.join(top, SPLITS)):
        parts = [os.path.join(top, name) for name in _listed(os.path.join(top, SPLITS), "splits")]
        found = [file for part in parts for file in _saved(part, os.path.basename(part))]
        return DataFiles(tuple(found), (name_of(top) or "parquet"), ())
    if is_file(os.path.join(top, STATE)):
        return DataFiles(tuple(_saved(top, "")), (name_of(top) or "parquet"), ())
    paths, notes = _matching(argument)
    files: list[DataFile] = []
    before = ""
    root = top if is_folder(top) else ""
    for path, size in known_sizes(paths).items():
        files.append(DataFile(path, split_of(path, root), _goes_on(before, path), size))
        before = path
    folder = os.path.commonpath([os.path.dirname(path) for path in paths])
    stem = os.path.splitext(os.path.basename(paths[0]))[0]
    alone = len(paths) == 1 and not SHARD.fullmatch(stem) and not split_of(paths[0], os.path.dirname(paths[0]))
    return DataFiles(tuple(files), (name_of(stem if alone else folder) or "parquet"), (*notes, *_missing(paths)))


def _matching(argument: str) -> tuple[list[str], list[str]]:
    """(paths in order, a line for each name that is left out)."""
    found = files_in(argument, SUFFIXES)
    if not is_folder(argument):
        return found.files, list(found.left_out)
    kept = [path for path in found.files if not os.path.basename(path).startswith(CACHE)]
    if not kept:
        raise SourceError(f"all files below {argument!r} are of the cache of `datasets`: name one to read it")
    left = [f"{path} is of the cache of `datasets`, and is left out" for path in found.files if path not in kept]
    return kept, [*found.left_out, *left]


def _saved(folder: str, split: str) -> Iterable[DataFile]:
    """The files of a dataset that `save_to_disk` wrote, by its own list of them. Any may be missing."""
    state = os.path.join(folder, STATE)
    names = [file.get("filename") for file in _listed(state, "_data_files", dict)]
    if not names or not all(isinstance(name, str) and os.path.basename(name) == name for name in names):
        raise SourceError(f"{state}: _data_files must name files of its folder")
    split = split or str(_json(state).get("_split") or "")
    paths = [os.path.join(folder, str(name)) for name in names]
    for number, (path, size) in enumerate(zip(paths, sizes_of(paths), strict=True)):
        yield DataFile(path, split, number > 0, size)


def _listed(path: str, key: str, kind: type[Any] = str) -> list[Any]:
    found = _json(path).get(key)
    if not isinstance(found, list) or not found or not all(isinstance(one, kind) for one in found):
        raise SourceError(f"{path}: {key} must be a list of {kind.__name__}, not {found!r}"[:300])
    return found


def _json(path: str) -> dict[str, Any]:
    try:
        with open_file(path) as file:
            found = json.load(file)
    except RemoteError:
        raise
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise SourceError(f"{path} holds no object")
    return found


def _shard_of(path: str) -> tuple[str, int, int] | None:
    """(what the files of its set have in common, its number, how many there are) of a shard."""
    found = SHARD.fullmatch(os.path.splitext(os.path.basename(path))[0])
    if found is None:
        return None
    common = os.path.join(os.path.dirname(path), f"{found['name']}-of-{found['count']}")
    return common, int(found["number"]), int(found["count"])


def _goes_on(before: str, path: str) -> bool:
    one, two = _shard_of(before), _shard_of(path)
    return one is not None and two is not None and one[0] == two[0] and one[1] + 1 == two[1]


def _missing(paths: Iterable[str]) -> list[str]:
    """A line for each set of shards of which some are missing."""
    sets: dict[str, tuple[int, set[int]]] = {}
    for common, number, count in filter(None, map(_shard_of, paths)):
        sets.setdefault(common, (count, set()))[1].add(number)
    lines = []
    for common, (count, there) in sets.items():
        if lost := sorted(set(range(count)) - there):
            numbers = ", ".join(map(str, lost[:8])) + (", ..." if len(lost) > 8 else "")
            lines.append(f"{common}: of {count} files, these are missing, and no episode of theirs is read: {numbers}")
    return lines
