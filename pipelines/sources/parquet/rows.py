"""TableRows: ranges of the rows of a table, read forward in a few rows at a time."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from gato_tokenize.storage.address import RemoteError
from pipelines.sources.formats.limits import check_field
from pipelines.sources.formats.places import Size
from pipelines.sources.parquet.opening import open_table
from pipelines.sources.parquet.table_file import TableFile, named

BATCH_BYTES = 4 * 2**20  # of rows that are unpacked at once, about
MOST_ROWS = 8192
LOOK_ROWS = 8  # that are unpacked to see how large they are
MUCH = 4  # times as many bytes make the rows that are unpacked at once fewer


class TableRows:
    """Reads the rows of `columns` of a file, best in their order: a range before the last one unpacks its group again.

    size: bytes that the file had when it was planned. The file is opened by the first `read`.
    """

    def __init__(self, path: str, size: Size | None, columns: Sequence[str]) -> None:
        self.path, self._size, self._columns = path, size, tuple(columns)
        self._file: TableFile | None = None
        self._batches: Iterator[Any] = iter(())
        self._group, self._next = 0, -1  # of the batches, and the row after the last batch that was read
        self._held: Any = None  # the last batch, which ends before row `_next`
        self._row_bytes = 0.0  # of a row, unpacked; 0: unknown. The file may be much smaller, by a dictionary
        self._single: set[int] = set()  # groups of which a batch was damaged, so that each row is read by itself
        self._lost: dict[int, tuple[int, Exception]] = {}  # {group: (the first row that is lost, why)}

    def read(self, start: int, stop: int) -> Any:
        """Return the rows [start, stop) as an Arrow table.

        Raises ValueError naming the file if a column is missing, if the rows cannot be read, or if they have too many
        bytes.
        """
        found: list[Any] = []
        size, row = 0, start
        while row < stop:
            try:
                batch = self._batch_with(row)
            except RemoteError:
                self.close()  # the next episode begins anew
                raise
            first = self._next - batch.num_rows
            found.append(batch.slice(row - first, stop - row))
            size += found[-1].nbytes
            check_field(f"{self.path}, row {start}", f"{stop - start} rows", size)
            row = min(stop, self._next)
        return pa.Table.from_batches(found)

    def close(self) -> None:
        self._held, self._batches, self._next = None, iter(()), -1
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def file(self) -> TableFile:
        """Raises ValueError if it cannot be opened, or lacks a column."""
        if self._file is None:
            file = open_table(self.path, self._size)
            if missing := [name for name in self._columns if name not in file.schema.names]:
                file.close()
                there = ", ".join(file.schema.names)
                raise ValueError(
                    f"{self.path}: no column {', '.join(missing)}, which the first file has; it has {there}"
                )
            self._file, self._starts = file, file.starts
        return self._file

    def _batch_with(self, row: int) -> Any:
        """The batch that holds a row."""
        file = self.file
        if not 0 <= row < file.rows:
            raise ValueError(file.fault or f"{self.path} has {file.rows} rows, and row {row} is wanted")
        group = int(np.searchsorted(self._starts, row, "right")) - 1
        if group in self._lost and row >= self._lost[group][0]:
            raise self._lost[group][1]
        if self._held is not None and self._next - self._held.num_rows <= row < self._next:
            return self._held
        if group != self._group or not self._starts[group] <= self._next <= row:
            self._begin(group)
        return self._forward(group, row)

    def _begin(self, group: int) -> None:
        file = self.file
        self._held = None  # before the next is read, so that two are never held
        self._row_bytes = self._row_bytes or self._size_of_rows(group)
        average = file.bytes[group] / max(1, file.groups[group])
        fitting = max(1, int(BATCH_BYTES / max(1, average, self._row_bytes)))
        each = 1 if group in self._single else min(MOST_ROWS, fitting)
        self._batches = file.batches(group, self._columns, each)
        self._group, self._next = group, int(self._starts[group])

    def _size_of_rows(self, group: int) -> float:
        """Bytes of the largest of the first rows of a group, unpacked; BATCH_BYTES if they cannot be read."""
        largest = total = 1
        try:
            for batch in itertools.islice(self.file.batches(group, self._columns, 1), LOOK_ROWS):
                largest, total = max(largest, batch.nbytes), total + batch.nbytes
                if total > BATCH_BYTES:
                    break
        except RemoteError:
            raise
        except Exception:  # it is reported where the row is read
            return float(BATCH_BYTES)
        return float(largest)

    def _forward(self, group: int, row: int) -> Any:
        try:
            with named(self.path, "is damaged"):
                while self._next <= row:
                    self._held = None
                    self._held = next(self._batches, None)
                    if self._held is None or not self._held.num_rows:
                        raise ValueError(f"its rows end before row {self._next}")
                    self._next += self._held.num_rows
                    if self._held.nbytes > MUCH * BATCH_BYTES and self._held.num_rows > 1:
                        self._row_bytes = self._held.nbytes / self._held.num_rows
                        self._begin(group)
            return self._held
        except ValueError as error:
            first, self._held = self._next, None
            if group not in self._single:
                self._single.add(group)
                self._begin(group)
                return self._forward(group, row)
            self._lost[group] = first, error
            self._next = -1
            raise


def concatenated(parts: Sequence[Any]) -> Any:
    """One Arrow table of the rows of several. Raises ValueError if their columns differ."""
    return parts[0] if len(parts) == 1 else pa.concat_tables(parts)
