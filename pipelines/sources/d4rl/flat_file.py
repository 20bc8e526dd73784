"""FlatFile: D4RL's flat arrays, of which an episode is a slice."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from gato_tokenize.storage.address import RemoteError
from pipelines.sources.d4rl.ends import Ends, Flag, check_length, find_ends
from pipelines.sources.errors import SourceError
from pipelines.sources.formats.hdf5 import (
    check_layout,
    checked_array,
    child,
    hdf5_file,
    node_at,
    planned,
    values_of,
)
from pipelines.sources.formats.hdf5_steps import Keys, StepArrays, step_arrays, step_path
from pipelines.sources.formats.places import Size, require_unchanged, size_of

NO_FIELDS = ("rewards", "terminals", "timeouts", "next_observations", "metadata")
MOST_CACHE = 256 * 2**20  # bytes of chunks that are kept unpacked of each array
LEAST_CACHE = 2**20


@dataclasses.dataclass(frozen=True)
class Described:
    """What planning finds in a file. rows: timesteps in all. cache: the most bytes of the chunks in which a row of an
    array lies. agent: the algorithm that acted."""

    uri: str
    bytes: Size
    rows: int
    ends: Ends
    fields: StepArrays
    cache: int
    agent: str


def describe(uri: str, length: int) -> Described:
    """Look into a file; of its values only terminals and timeouts are read, and the first rows for their range. Raises
    SourceError if it is not in D4RL's layout, or if nothing tells where an episode ends."""
    size = size_of(uri)
    return planned(uri, functools.partial(_described, uri=uri, size=size, length=length))


def _described(file: h5py.File, uri: str, size: Size, length: int) -> Described:
    check_layout(file, uri, "actions", "D4RL")
    rows = len(checked_array(child(file, "actions", ""), "actions"))
    if not rows:
        raise SourceError(f"{uri}: actions has no rows")
    terminals, timeouts = (_flag(file, name, slice(0, rows), rows) for name in ("terminals", "timeouts"))
    check_length(uri, terminals, timeouts, length)
    ends = find_ends(rows, terminals, timeouts, length)
    fields = step_arrays([(file, rows)], _path_of)
    chunks = [_chunk_bytes(node_at(file, keys)) for keys in fields.keys.values()]
    return Described(uri, size, rows, ends, fields, max(chunks, default=0), _agent(file))


def _path_of(keys: Keys) -> str:
    return "" if keys[0] in NO_FIELDS else step_path(keys, {"observations": "observation", "actions": "action"})


def _chunk_bytes(node: h5py.Dataset) -> int:
    """The bytes of the chunks in which one row lies: wide arrays are divided along their other axes, too."""
    if not node.chunks:
        return 0
    across = [-(-side // chunk) for side, chunk in zip(node.shape[1:], node.chunks[1:], strict=True)]
    return int(np.prod([*node.chunks, *across], dtype=object)) * int(node.dtype.itemsize)


def _agent(file: h5py.File) -> str:
    """The text `metadata/algorithm`; "" if there is none."""
    node = file.get("metadata/algorithm")
    if not isinstance(node, h5py.Dataset) or node.shape != () or not h5py.check_string_dtype(node.dtype):
        return ""
    return str(node.asstr(errors="replace")[()])


def _flag(file: h5py.File, name: str, rows: slice, length: int) -> Flag:
    """The rows of a flag; None if there is no such array."""
    if name not in file:
        return None
    return np.asarray(_numbers(file, name, rows, length), bool)


def _numbers(file: h5py.File, name: str, rows: slice, length: int) -> NDArray[Any]:
    """The rows of an array of one number a timestep, [N] or [N, 1]."""
    node = checked_array(child(file, name, ""), name, length)
    if node.shape[1:] not in ((), (1,)) or node.dtype.kind not in "biuf":
        raise ValueError(f"{name}: expected a number a timestep, got {node.dtype} of shape {list(node.shape)}")
    return values_of(node, name, length, rows).ravel()


class Slice:
    """Some rows of an array of so many, read where they are sliced."""

    def __init__(self, node: Any, path: str, length: int, rows: range) -> None:
        self._node, self._path, self._length = checked_array(node, path, length), path, length
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        wanted = self._rows[rows]
        return values_of(self._node, self._path, self._length, slice(wanted.start, wanted.stop, wanted.step))


class FlatFile:
    """A file that stays open with its arrays from one episode to the next, because several may lie in one compressed
    chunk: the library keeps what it unpacked as long as the array is open.

    said: what a partition says of the file. Whatever goes wrong is a ValueError that names the file, but for
    RemoteError.
    """

    def __init__(self, uri: str, said: Mapping[str, Any], rows: int, cache: int) -> None:
        self._uri, self._said, self._rows = uri, said, rows
        self._file: h5py.File | None = None
        self._open = contextlib.ExitStack()
        self._cache = min(max(2 * cache, LEAST_CACHE), MOST_CACHE)
        self._nodes: dict[Keys, Any] = {}

    @contextlib.contextmanager
    def opened(self) -> Iterator[h5py.File]:
        """Open the file, unless it is open still. Raises ValueError if it changed since it was planned."""
        require_unchanged(self._uri, self._said["bytes"], self._said)
        try:
            if self._file is None:
                self._file = self._open.enter_context(hdf5_file(self._uri, rdcc_nbytes=self._cache))
            yield self._file
        except RemoteError:
            raise
        except Exception as error:  # h5py raises OSError, RuntimeError, KeyError and more for a damaged file
            raise ValueError(f"{self._uri}: {error}") from error

    def close(self) -> None:
        self._nodes.clear()
        self._open.close()
        self._file = None

    def ends(self, start: int, stop: int, length: int) -> Ends:
        """Find the ends of the episodes of the rows [start, stop), of which the first begins at `start`."""
        with self.opened() as file:
            rows = slice(start, stop)
            terminals, timeouts = (_flag(file, name, rows, self._rows) for name in ("terminals", "timeouts"))
        return find_ends(stop - start, terminals, timeouts, length)

    def rewards(self, file: h5py.File, rows: range) -> NDArray[Any] | None:
        """The rewards of some rows; None if there are none."""
        return _numbers(file, "rewards", slice(rows.start, rows.stop), self._rows) if "rewards" in file else None

    def slice(self, file: h5py.File, keys: Keys, rows: range) -> Slice:
        """Some rows of the array to which `keys` lead."""
        if keys not in self._nodes:
            self._nodes[keys] = node_at(file, keys)
        return Slice(self._nodes[keys], "/".join(keys), self._rows, rows)
