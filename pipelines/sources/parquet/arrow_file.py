"""Arrow files and streams: a local file is mapped; of one at an address a batch is read as a whole."""

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.ipc

from pipelines.sources.formats.places import size_of_open
from pipelines.sources.parquet.stream_messages import BATCH, STREAM_END, Message, messages_of
from pipelines.sources.parquet.table_file import TableFile

MAPPED_BYTES = 64 * 2**20  # of an Arrow file whose pages stay mapped, about: they count as memory of the process
AWAY_BYTES = 2**28  # of a record batch at an address, which is in memory as a whole


class ArrowFile(TableFile):
    """The IPC file format of Arrow, also called Feather."""

    def __init__(self, path: str, away: BinaryIO | None) -> None:
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


class ArrowStream(TableFile):
    """The IPC stream format, in which the `datasets` library keeps its files.

    It has no list of its batches, so planning passes over all of them without reading what they hold.
    """

    def __init__(self, path: str, away: BinaryIO | None) -> None:
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


class AwayArrow(TableFile):
    """A file or stream at an address: planning reads the headers of its batches, and a batch is read as a whole."""

    def __init__(self, path: str, away: BinaryIO | None) -> None:
        super().__init__(path)
        assert away is not None
        self._file, self.groups, self.bytes = away, [], []
        self._held: tuple[Any, Any] = (None, None)  # (which batch and columns, the batch) that was read last
        self._parts: list[Message] = []  # the schema and the dictionaries
        self._batches: list[tuple[Message, int]] = []  # with the number of `_parts` before it
        try:
            for one in messages_of(away, size_of_open(away)):
                if one.kind == BATCH:
                    self.groups.append(one.rows)
                    self.bytes.append(one.stop - one.start)
                    self._batches.append((one, len(self._parts)))
                else:
                    self._parts.append(one)
        except ValueError as error:
            self.fault = f"{path} is cut or damaged after row {self.rows}: {error}"
            if not self._parts:
                raise
        self.schema = pa.ipc.read_schema(pa.py_buffer(self._read(self._parts[0])))

    def batches(self, group: int, columns: Sequence[str], rows: int) -> Iterator[Any]:
        if self._held[0] != (group, tuple(columns)):
            self._held = None, None  # before the next is read, so that two are never held
            self._held = (group, tuple(columns)), self._batch(group, columns)
        batch = self._held[1]
        return (batch.slice(start, rows) for start in range(0, batch.num_rows, rows))

    def _batch(self, group: int, columns: Sequence[str]) -> Any:
        _check_away(self, group)
        message, before = self._batches[group]
        data = b"".join(map(self._read, (*self._parts[:before], message)))
        with pa.ipc.open_stream(pa.py_buffer(data), options=_only(self.schema, columns)) as stream:
            batch = stream.read_next_batch()
        batch.validate(full=True)  # the offsets of damaged lists could lead anywhere in memory
        return batch

    def _read(self, message: Message) -> bytes:
        self._file.seek(message.start)
        return self._file.read(message.stop - message.start)

    def close(self) -> None:
        self._held = None, None
        self._file.close()


def _check_away(table: TableFile, group: int) -> None:
    """Raise ValueError if a batch at an address is too large to be in memory as a whole."""
    if table.bytes[group] > AWAY_BYTES:
        raise ValueError(
            f"its batch {group} has {table.bytes[group]} bytes, and at an address at most {AWAY_BYTES} are read at"
            " once: copy the file to a local disk, or write it as Parquet"
        )


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
