"""TableFile: an open Parquet or Arrow file, read a few rows at a time from any of its groups of rows."""

import abc
import contextlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
from numpy.typing import NDArray

PAGE_BYTES = 2**20  # of a Parquet file that are read from the disk at once
MAPPED_BYTES = 64 * 2**20  # of an Arrow file whose pages stay mapped, about: they count as memory of the process
STREAM_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"  # of every Arrow stream whose writer was closed


class TableFile(abc.ABC):
    """One file of rows, in groups: the row groups of a Parquet file, or the record batches of an Arrow file.

    schema: its Arrow schema. groups: the number of rows of each group. bytes: of the file, about, that hold each group.
    fault: why the rows after the last group cannot be read; "" if nothing is wrong.

    Opening it reads its metadata alone. Open one by `open_table`.
    """

    schema: Any
    groups: list[int]
    bytes: list[int]
    fault: str = ""

    def __init__(self, path: str) -> None:
        self.path = path

    @property
    def starts(self) -> NDArray[np.int64]:
        """int64[groups + 1], the rows before each group, and of all."""
        return np.concatenate([[0], np.cumsum(self.groups)]).astype(np.int64)

    @property
    def rows(self) -> int:
        return sum(self.groups)

    @abc.abstractmethod
    def batches(self, group: int, columns: Sequence[str], rows: int) -> Iterator[Any]:
        """Iterate over a group as Arrow record batches of `columns`, of at most so many rows each."""

    @abc.abstractmethod
    def close(self) -> None: ...


def open_table(path: str, size: int | None = None) -> TableFile:
    """Open a file by its first bytes, whatever it is called.

    size: bytes that it had when it was planned. Raises ValueError naming the file if it is missing, is neither Parquet
    nor Arrow, has another size now, or is damaged where its metadata lie: a Parquet file without its footer is lost as
    a whole.
    """
    with named(path, "cannot be read"):
        found = os.stat(path).st_size
        with open(path, "rb") as file:
            head = file.read(8)
    if size is not None and found != size:
        raise ValueError(f"{path} has changed since it was planned: {found} bytes now, {size} then; plan again")
    kinds: dict[bytes, Callable[[str], TableFile]] = {
        b"PAR1": _ParquetFile,
        b"ARRO": _ArrowFile,
        STREAM_END[:4]: _ArrowStream,
    }
    if head[:4] not in kinds:
        said = f"it begins with {head[:4]!r}" if head else "it is empty"
        raise ValueError(f"{path} is neither a Parquet nor an Arrow file: {said}")
    with named(path, "cannot be read"):
        table = kinds[head[:4]](path)
        _ = table.schema.names  # of a damaged schema they may be no UTF-8
        return table


@contextlib.contextmanager
def named(path: str, what: str) -> Iterator[None]:
    """Make a ValueError that names the file of whatever pyarrow raises."""
    try:
        yield
    except Exception as error:  # pyarrow raises errors of many kinds where bytes are damaged
        said = f"{error}" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} {what}: {said}") from error


class _ParquetFile(TableFile):
    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._file: Any = pq.ParquetFile(
            path, pre_buffer=False, buffer_size=PAGE_BYTES, page_checksum_verification=True
        )
        footer = self._file.metadata
        found = [footer.row_group(i) for i in range(footer.num_row_groups)]
        self.groups, self.bytes = [one.num_rows for one in found], [one.total_byte_size for one in found]
        self.schema = self._file.schema_arrow

    def batches(self, group: int, columns: Sequence[str], rows: int) -> Iterator[Any]:
        yield from self._file.iter_batches(rows, [group], list(columns), use_threads=False)

    def close(self) -> None:
        self._file.close()


class _ArrowFile(TableFile):
    """The IPC file format of Arrow, also called Feather."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        with pa.memory_map(path) as memory, pa.ipc.open_file(memory) as file:
            self.schema = file.schema
        with self._opened(_cheapest(self.schema)) as file:
            self.groups = [file.get_batch(i).num_rows for i in range(file.num_record_batches)]
        self.bytes = _by_rows(os.stat(path).st_size, self.groups)

    def batches(self, group: int, columns: Sequence[str], rows: int) -> Iterator[Any]:
        @contextlib.contextmanager
        def opened() -> Iterator[Any]:
            with self._opened(columns) as file:
                yield file.get_batch(group)

        return _sliced(opened, self.groups[group], rows)

    @contextlib.contextmanager
    def _opened(self, columns: Sequence[str]) -> Iterator[Any]:
        with pa.memory_map(self.path) as memory, pa.ipc.open_file(memory, options=_only(self.schema, columns)) as file:
            yield file

    def close(self) -> None:
        """Nothing stays open from one group to the next: what is mapped of a file counts as memory."""


class _ArrowStream(TableFile):
    """The IPC stream format, in which the `datasets` library keeps its files.

    It has no list of its batches, so planning passes over all of them without reading what they hold.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.groups, self.bytes = [], []
        self._offsets: list[int] = []  # at which the batches begin
        with pa.memory_map(path) as memory, pa.ipc.open_stream(memory) as stream:
            self.schema = stream.schema
        with pa.memory_map(path) as memory:
            try:
                self._offsets.append(_after_schema(memory))
                for batch in _stream(memory, self.schema, _cheapest(self.schema)):
                    self.groups.append(batch.num_rows)
                    self.bytes.append(memory.tell() - self._offsets[-1])
                    self._offsets.append(memory.tell())
            except Exception as error:
                self.fault = f"{path} is cut or damaged after row {self.rows}: {error}"
            size = memory.size()
            memory.seek(max(0, size - len(STREAM_END)))
            if not self.fault and memory.read(len(STREAM_END)) != STREAM_END:
                self.fault = f"{path} is cut after row {self.rows}: the mark that ends a stream is missing"

    def batches(self, group: int, columns: Sequence[str], rows: int) -> Iterator[Any]:
        @contextlib.contextmanager
        def opened() -> Iterator[Any]:
            with pa.memory_map(self.path) as memory:
                if "dictionary<" not in str(self.schema):
                    memory.seek(self._offsets[group])
                    batch = pa.ipc.read_record_batch(pa.ipc.read_message(memory), self.schema)
                    yield batch.select(list(columns))
                    return
                # The batches before it may hold the values of its dictionaries.
                yield next(itertools.islice(_stream(memory, self.schema, columns), group, None))

        return _sliced(opened, self.groups[group], rows)

    def close(self) -> None:
        """Nothing stays open from one batch to the next: what is mapped of a file counts as memory."""


def _after_schema(memory: Any) -> int:
    """The place after the schema, with which a stream begins."""
    pa.ipc.read_message(memory)
    place = int(memory.tell())
    memory.seek(0)
    return place


def _stream(memory: Any, schema: Any, columns: Sequence[str]) -> Iterator[Any]:
    with pa.ipc.open_stream(memory, options=_only(schema, columns)) as stream:
        yield from stream


def _only(schema: Any, columns: Sequence[str]) -> Any:
    return pa.ipc.IpcReadOptions(included_fields=[schema.names.index(name) for name in columns])


def _sliced(opened: Callable[[], contextlib.AbstractContextManager[Any]], count: int, rows: int) -> Iterator[Any]:
    """The slices of a batch, which is mapped anew after some of them: what was read is forgotten."""
    start = 0
    while start < count:
        size = 0
        with opened() as batch:
            if not start:
                batch.validate(full=True)  # the offsets of damaged lists could lead anywhere in memory
            while start < count and size < MAPPED_BYTES:
                part = batch.slice(start, rows)
                start, size = start + rows, size + part.nbytes
                yield part
                del part
            del batch


def _cheapest(schema: Any) -> list[str]:
    """A column whose batches can be counted without unpacking much."""
    flat = [field.name for field in schema if pa.types.is_primitive(field.type)]
    return (flat or schema.names)[:1]


def _by_rows(size: int, groups: Sequence[int]) -> list[int]:
    return [size * rows // max(1, sum(groups)) for rows in groups]
