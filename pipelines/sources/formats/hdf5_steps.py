"""Arrays of timesteps in an HDF5 file: which fields they are, and how their rows are read."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from gato_tokenize.array_spaces import Box, Text
from gato_tokenize.spec import join_path
from gato_tokenize.storage.address import RemoteError
from pipelines.sources.formats.hdf5 import arrays_below, checked_array, node_at, values_of

LOOK_ROWS = 10_000  # of an array that are looked at for its range

Keys = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class StepArrays:
    """The fields that the first episodes of a format show.

    spaces: {path of a field: its space}. keys: {path of a field: the names that lead to its array}. unreadable: {path
    of a field: why no field can be made of it}.
    """

    spaces: dict[str, Any] = dataclasses.field(default_factory=dict)
    keys: dict[str, Keys] = dataclasses.field(default_factory=dict)
    unreadable: dict[str, str] = dataclasses.field(default_factory=dict)


def step_path(keys: Keys, roots: Mapping[str, str]) -> str:
    """Return the path of the field of an array that `keys` lead to. roots: {first key: how a spec calls it}.

    >>> step_path(("obs", "eye"), {"obs": "observation"}), step_path(("states",), {"obs": "observation"})
    ('observation/eye', 'states')
    """
    root = roots.get(keys[0], join_path("", keys[0])[1:])
    return functools.reduce(join_path, keys[1:], root)


class Rows:
    """The rows of an array with a time axis, read where they are sliced.

    convert: what becomes of the rows that were read.
    """

    def __init__(self, node: Any, path: str, convert: Callable[[Any], Any] | None = None) -> None:
        self._node, self._path, self._convert = checked_array(node, path), path, convert

    def __len__(self) -> int:
        return int(self._node.shape[0])

    def __getitem__(self, rows: slice) -> Any:
        values = values_of(self._node, self._path, None, rows)
        return self._convert(values) if self._convert else values


def rows_at(root: Any, keys: Keys, path: str, convert: Callable[[Any], Any] | None = None) -> Rows:
    """Return the rows of the array to which `keys` lead from `root`, which is at `path`; ValueError if it is missing,
    or lies in another file."""
    return Rows(node_at(root, keys, path), "/".join((path, *keys)), convert)


def step_arrays(
    episodes: Sequence[tuple[Any, int]],
    path_of: Callable[[Keys], str],
    special: Callable[[Keys, Any], Any] = lambda keys, node: None,
) -> StepArrays:
    """Describe the arrays of the first episodes, each (its group, its number of timesteps).

    path_of: from the names that lead to an array to the path of its field; "" if it is none. special: from these names
    and the array to its space if the format knows better, or to why there is none, or None.
    """
    found = StepArrays()
    others = [dict(arrays_below(group)) for group, _ in episodes[1:]]
    group, steps = episodes[0]
    for keys, node in arrays_below(group):
        path = path_of(keys)
        if not path:
            continue
        same = [other[keys] for other in others if isinstance(other.get(keys), h5py.Dataset)]
        space = node if isinstance(node, str) else special(keys, node) or _space(node, same, steps)
        if isinstance(space, str):
            found.unreadable[path] = space
        else:
            found.spaces[path], found.keys[path] = space, keys
    return found


def _space(node: Any, others: Sequence[Any], steps: int) -> Any:
    """The space of a field of a timestep, or why there is none."""
    try:
        checked_array(node, "it")
    except ValueError as error:
        return str(error)
    if node.shape[0] not in (steps, steps + 1):
        return f"it has {node.shape[0]} entries, and the episode {steps} timesteps"
    if h5py.check_string_dtype(node.dtype) and node.ndim == 1:
        return Text()
    if node.dtype.kind not in "fiub":
        what = "objects of any length" if node.dtype.kind == "O" else str(node.dtype)
        return f"its values are {what}, no numbers (dtype {node.dtype})"
    if 0 in node.shape[1:]:
        return "an array without elements"
    if node.ndim > 2:
        return Box(node.shape[1:], node.dtype)  # its range is not needed, and might be gigabytes
    same = [other for other in others if (other.shape[1:], other.dtype) == (node.shape[1:], node.dtype)]
    arrays = [rows for one in (node, *same) if (rows := _first_rows(one)) is not None]
    return Box.seen_in(arrays) if arrays else Box(node.shape[1:], node.dtype)


def _first_rows(node: Any) -> NDArray[Any] | None:
    """The rows that are looked at for a range; None if they are damaged: episodes that need them become rejects."""
    try:
        return np.asarray(node[:LOOK_ROWS])
    except RemoteError:
        raise
    except (OSError, RuntimeError):
        return None
