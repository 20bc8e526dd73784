"""Parquet files: rows of chosen columns, a few row groups at a time, as numpy arrays."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gato_tokenize.storage.address import RemoteError, is_address
from gato_tokenize.storage.remote_file import open_file


class ParquetTable:
    """One open Parquet file. It keeps the row groups that it read last, because neighbouring episodes share them.

    Raises ValueError naming the file if it is missing or damaged: one without its footer is lost as a whole. Raises
    RemoteError if its address gives no answer.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        with self._named("cannot be read"):
            self._away: BinaryIO | None = open_file(path) if is_address(path) else None
            self._file: Any = pq.ParquetFile(self._away or path, pre_buffer=False)
            footer = self._file.metadata
            sizes = [footer.row_group(i).num_rows for i in range(footer.num_row_groups)]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._held: tuple[Any, Any] = (None, None)  # (which groups and columns, their table)

    @property
    def rows(self) -> int:
        return int(self._starts[-1])

    @property
    def columns(self) -> list[str]:
        return list(self._file.schema_arrow.names)

    def schema(self, column: str) -> Any:
        """The Arrow type of a column."""
        return self._file.schema_arrow.field(column).type

    def require(self, columns: Sequence[str], written_by: str) -> None:
        """Raise ValueError naming those of `columns` that are missing."""
        if missing := [column for column in columns if column not in self.columns]:
            found = ", ".join(self.columns)
            raise ValueError(f"{self.path}: no column {', '.join(missing)}, which {written_by} writes; it has {found}")

    def read(self, columns: Sequence[str], start: int = 0, stop: int | None = None) -> Any:
        """Return the rows [start, stop) of `columns` as an Arrow table. Raises ValueError if they cannot be read."""
        stop = self.rows if stop is None else stop
        first = int(np.searchsorted(self._starts, start, "right")) - 1
        last = min(int(np.searchsorted(self._starts, stop, "left")), len(self._starts) - 1)
        key = first, last, tuple(columns)
        if self._held[0] != key:
            self._held = (None, None)  # before the next is read, so that two are never held
            with self._named("is damaged"):
                groups = range(first, last)
                self._held = key, self._file.read_row_groups(list(groups), list(columns), use_threads=False)
        table = self._held[1].slice(start - int(self._starts[first]), stop - start)
        if table.num_rows != stop - start:
            raise ValueError(f"{self.path} is damaged: it has {table.num_rows} of the rows {start} to {stop}")
        return table

    def close(self) -> None:
        self._held = (None, None)
        self._file.close()
        if self._away is not None:
            self._away.close()

    @contextlib.contextmanager
    def _named(self, what: str) -> Iterator[None]:
        try:
            yield
        except RemoteError:
            raise
        except (pa.ArrowException, OSError, ValueError) as error:
            raise ValueError(f"{self.path} {what}: {error}") from error


def numbers_of(column: Any, shape: Sequence[int], name: str) -> NDArray[Any]:
    """[T, *shape] from a column of numbers, or of lists of them, nested or flat.

    Raises ValueError naming the column if a row has no value, another shape, or no numbers.
    """
    flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    rows = len(flat)
    while pa.types.is_list(flat.type) or pa.types.is_large_list(flat.type) or pa.types.is_fixed_size_list(flat.type):
        _complete(flat, name)
        lengths = pc.unique(pc.list_value_length(flat)).to_pylist()
        if len(lengths) > 1:
            raise ValueError(f"{name}: its lists have lengths from {min(lengths)} to {max(lengths)}, not one")
        flat = flat.flatten()
    _complete(flat, name)
    if not (pa.types.is_integer(flat.type) or pa.types.is_floating(flat.type) or pa.types.is_boolean(flat.type)):
        raise ValueError(f"{name}: expected numbers, got {flat.type}")
    values = flat.to_numpy(zero_copy_only=False)
    if values.size != rows * int(np.prod(shape, dtype=np.int64)):
        raise ValueError(f"{name}: {values.size} numbers in {rows} rows do not make shape {list(shape)} each")
    return np.asarray(values).reshape(rows, *shape)


def texts_of(column: Any, name: str) -> list[str]:
    """The strings of a column. Raises ValueError if a row has none."""
    _complete(column, name)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise ValueError(f"{name}: expected strings, got {column.type}")
    return list(column.to_pylist())


def files_of(column: Any, name: str) -> list[bytes]:
    """The bytes of the files in a column of struct {bytes, path}, as the `datasets` library stores pictures, or of
    binary values. Raises ValueError if a row has none."""
    flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_struct(flat.type) and flat.type.get_field_index("bytes") >= 0:
        flat = pc.struct_field(flat, "bytes")
    if not (pa.types.is_binary(flat.type) or pa.types.is_large_binary(flat.type)):
        raise ValueError(f"{name}: expected files as struct {{bytes, path}}, got {flat.type}")
    _complete(flat, name)
    return list(flat.to_pylist())


def _complete(column: Any, name: str) -> None:
    if column.null_count:
        row = pc.index(pc.is_null(column), True).as_py()
        raise ValueError(f"{name}: row {row} holds no value")
