"""ArrayRows: the rows of a Zarr array with a time axis, a few chunks at a time."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.sources.formats.limits import MAX_FIELD_BYTES, check_field
from pipelines.sources.zarr.store import ZarrStore

BLOCK_BYTES = 8 * 2**20  # of chunks that are unpacked at once
BLOSC_HEAD = 16  # bytes at the start of a chunk of Blosc; the last four are the number of its bytes
MOST_CHUNKS = 65_536  # in which one row may lie: damaged metadata could claim any number


class ArrayRows:
    """Reads rows of an array in whole chunks, and keeps the last chunk: the next episode begins in it.

    fill: whether a chunk that is not stored is
    taken for the fill value, as Zarr takes it, or is a ValueError.

    Raises ValueError naming the array if its chunks are too large.
    """

    def __init__(self, store: ZarrStore, array: Any, path: str, fill: bool) -> None:
        self._store, self._array, self._path, self._fill = store, array, path, fill
        self._chunk = int(array.chunks[0])  # rows in a chunk
        itemsize = native(array.dtype).itemsize
        self._bytes = int(np.prod((self._chunk, *array.shape[1:]), dtype=object)) * itemsize
        grid = array.shards or array.chunks
        across = [-(-side // part) for side, part in zip(array.shape[1:], grid[1:], strict=True)]
        if self._bytes > MAX_FIELD_BYTES or np.prod(across, dtype=object) > MOST_CHUNKS:
            raise ValueError(f"{path}: its chunks {list(array.chunks)} of {array.dtype} are too large or too many")
        self._stored_rows, self._across = int(grid[0]), [range(count) for count in across]
        packed = type(array.compressors[-1]).__name__ if array.compressors else ""
        self._blosc = "Blosc" in packed and array.shards is None
        self._held: tuple[int, NDArray[Any] | None] = (-1, None)  # (number of a chunk, its rows)

    def read(self, start: int, stop: int, convert: Callable[[Any], Any] = np.asarray) -> Any:
        """Return what `convert` makes of the rows [start, stop), a block at a time, as one array or list."""
        if stop > self._array.shape[0]:
            raise ValueError(f"{self._path}: has {self._array.shape[0]} rows, and the episode ends at row {stop}")
        each = int(max(1, BLOCK_BYTES // max(1, self._bytes)))
        found: list[Any] = []
        size = 0
        last = -(-stop // self._chunk)
        for number in range(start // self._chunk, last, each):
            first = number * self._chunk
            block = self._chunks(number, min(number + each, last))
            found.append(convert(block[max(0, start - first) : stop - first]))
            size += sum(len(value) if isinstance(value, str) else value.nbytes for value in found[-1])
            check_field(self._path, f"{stop - start} rows", size)
        if isinstance(found[0], list):
            return list(itertools.chain.from_iterable(found))
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _chunks(self, number: int, stop: int) -> NDArray[Any]:
        """The rows of the chunks [number, stop)."""
        parts = []
        if self._held[0] == number and self._held[1] is not None:
            parts.append(self._held[1])
            number += 1
        if number < stop:
            self._check_chunks(number, stop)
            values = np.asarray(self._array[number * self._chunk : stop * self._chunk])
            parts.append(values.astype(native(values.dtype), copy=False))
            last = parts[-1][(stop - 1 - number) * self._chunk :]
            self._held = stop - 1, last.copy() if stop - number > 1 else last
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _check_chunks(self, number: int, stop: int) -> None:
        """Raise ValueError unless the chunks [number, stop) are stored and whole."""
        stop = -(-min(stop * self._chunk, self._array.shape[0]) // self._stored_rows)
        for place in itertools.product(range(number * self._chunk // self._stored_rows, stop), *self._across):
            key = f"{self._array.path}/{self._array.metadata.encode_chunk_key(place)}"
            if self._store.has(key):
                self._check_whole(key)
            elif not self._fill:
                raise ValueError(
                    f"{self._path}: the chunk {key} is not stored: it was lost, or it holds nothing but the fill value"
                    f" {self._array.fill_value}, which some programs leave out; then missing=fill puts it back"
                )

    def _check_whole(self, key: str) -> None:
        """Raise ValueError if a chunk of Blosc is not as long as it says: zarr would read on into other memory."""
        if self._blosc:
            size, head = self._store.head(key, BLOSC_HEAD)
            said = int.from_bytes(head[12:16], "little")
            if len(head) < BLOSC_HEAD or size != said:
                raise ValueError(f"{self._path}: the chunk {key} is damaged: it has {size} bytes, and states {said}")


class Slice:
    """The rows of an episode, read where they are sliced."""

    def __init__(self, rows: ArrayRows, start: int, stop: int, convert: Callable[[Any], Any] = np.asarray) -> None:
        self._rows, self._range, self._convert = rows, range(start, stop), convert

    def __len__(self) -> int:
        return len(self._range)

    def __getitem__(self, rows: slice) -> Any:
        wanted = self._range[rows]
        return self._rows.read(wanted.start, wanted.stop, self._convert)


def native(dtype: Any) -> np.dtype[Any]:
    """The dtype in this machine's order of bytes."""
    found: np.dtype[Any] = np.dtype(dtype)
    return found.newbyteorder("=") if found.kind in "iuf" else found
