"""Read records by their place in a shard: with checksums, few open files, and a bounded cache."""

import dataclasses
import functools
import struct
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_model.data.episode_table import EpisodeTable
from gato_model.data.windows import UnreadPatches, Window
from gato_tokenize.sequence import TokenSequence
from gato_tokenize.storage.ranges import Ranges, open_ranges
from gato_tokenize.storage.sequence_bytes import PackedPatches, decode_tokens
from gato_tokenize.storage.store_path import StorePath
from gato_tokenize.storage.tfrecord import FOOTER, HEADER, CorruptRecordError, Damage, masked_crc32c

_OPEN_FILES = 64


class SequenceReader:
    """A reader of the sequences of a table's records, as whole `Window`s. Threads may share it.

    vocabulary_size: ids must be below it
    cache_bytes: bytes of the latest sequences that may stay in memory, if they are at least half of all
    bytes_read: bytes that came from the files so far
    """

    def __init__(self, table: EpisodeTable, vocabulary_size: int, cache_bytes: int = 0) -> None:
        self.table, self.vocabulary_size, self.cache_bytes = table, vocabulary_size, cache_bytes
        self.bytes_read = 0
        self._files: OrderedDict[int, Ranges] = OrderedDict()  # {shard: its file}, the latest used last
        self._cache: OrderedDict[int, Window] = OrderedDict()
        self._cached_bytes = 0
        self._lock = threading.RLock()

    def open(self, row: int) -> "OpenedRecord":
        """Read the record in row `row` of the table, and leave its patches packed unless the cache holds them.

        Raises CorruptRecordError naming shard, record and offset.
        """
        with self._lock:
            if row in self._cache:
                self._cache.move_to_end(row)
                return OpenedRecord(self, row, self._cache[row], None)
        try:  # without the lock: checksums and zlib let other threads run
            sequence, packed = decode_tokens(self.data(row), self.vocabulary_size)
            if len(sequence) != self.table.tokens[row]:
                raise ValueError(f"it has {len(sequence)} tokens, the episode list says {self.table.tokens[row]}")
        except CorruptRecordError:
            raise
        except ValueError as error:
            raise self.corrupt(row, str(error)) from error
        opened = OpenedRecord(self, row, window_of(sequence), packed)
        if self._may_keep(opened.window):
            opened = OpenedRecord(self, row, opened.whole, None)
            with self._lock:
                self._keep(row, opened.window)
        return opened

    def read(self, row: int) -> Window:
        """Read the sequence in row `row` of the table. Raises CorruptRecordError naming shard, record and offset."""
        return self.open(row).whole

    def data(self, row: int) -> bytes:
        """Read a record's bytes and check their checksums. Raises CorruptRecordError."""
        columns = self.table.columns
        offset, size = int(columns["offset"][row]), int(columns["bytes"][row])
        framed = self._file(int(columns["shard"][row])).read_at(offset, size)  # several threads may wait for a store
        with self._lock:
            self.bytes_read += len(framed)
        if len(framed) < size or size < HEADER + FOOTER:
            raise self.corrupt(row, f"{size} bytes are expected here, {len(framed)} could be read")
        length, crc = struct.unpack_from("<QI", framed)
        if masked_crc32c(framed[:8]) != crc:
            raise self.corrupt(row, "the checksum of its length does not match")
        if length != size - HEADER - FOOTER:
            raise self.corrupt(row, f"its length is given as {length}, the episode list says {size - HEADER - FOOTER}")
        data = framed[HEADER:-FOOTER]
        if masked_crc32c(data) != struct.unpack("<I", framed[-FOOTER:])[0]:
            raise self.corrupt(row, "the checksum of its data does not match")
        return data

    def __getstate__(self) -> dict[str, Any]:
        """A copy in another process opens its own files and begins with an empty cache."""
        fresh = {"_files": OrderedDict(), "_cache": OrderedDict(), "_cached_bytes": 0, "_lock": None}
        return {**self.__dict__, **fresh}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.RLock())

    def close(self) -> None:
        """Close the files; reading opens them again."""
        with self._lock:
            self._files.clear()

    def _may_keep(self, window: Window) -> bool:
        """Say whether the cache is to hold a record: not if it would hold less than half of records of this size, since
        most would be unpacked whole for nothing."""
        return window.nbytes / len(window) * float(self.table.tokens.sum()) < 2 * self.cache_bytes

    def _keep(self, row: int, sequence: Window) -> None:
        if row in self._cache:  # another thread read it, too
            return
        self._cache[row] = sequence
        self._cached_bytes += sequence.nbytes
        while self._cached_bytes > self.cache_bytes:
            self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes

    def _file(self, shard: int) -> Ranges:
        """Return the open file of a shard, which stays open while a thread reads from it."""
        with self._lock:
            if shard in self._files:
                self._files.move_to_end(shard)
                return self._files[shard]
        path = self.table.shards[shard]
        file = open_ranges(path)
        with self._lock:
            if len(self._files) >= _OPEN_FILES and not isinstance(path, StorePath):  # a file of a store holds nothing
                self._files.popitem(last=False)
            return self._files.setdefault(shard, file)

    def corrupt(self, row: int, reason: str) -> CorruptRecordError:
        """Make the error that a record is damaged."""
        columns = self.table.columns
        path, number = str(self.table.shards[columns["shard"][row]]), int(columns["record"][row])
        return CorruptRecordError(Damage(path, number, int(columns["offset"][row]), reason, ends_shard=False))


@dataclasses.dataclass(frozen=True, eq=False)
class OpenedRecord:
    """A record whose patches may still be packed. window: the whole sequence, with its patches unless they are."""

    reader: SequenceReader
    row: int
    window: Window
    packed: PackedPatches | None

    @property
    def whole(self) -> Window:
        """The whole sequence with its patches. Raises CorruptRecordError."""
        if self.packed is None:
            return self.window
        patches = np.empty((self.packed.count, 16, 16, 3), np.uint8)
        self.fill([(UnreadPatches(0, len(patches)), patches)])
        return dataclasses.replace(self.window, patches=patches)

    @functools.cached_property
    def unread(self) -> Window:
        """The whole sequence with `UnreadPatches`, whether they are packed or not, for `fill`."""
        count = len(self.window.patches)
        return dataclasses.replace(self.window, patches=UnreadPatches(0, count)) if count else self.window

    def fill(self, parts: Sequence[tuple[UnreadPatches, NDArray[np.uint8]]]) -> None:
        """Fill each array, uint8[n, 16, 16, 3], with the patches beside it. Raises CorruptRecordError."""
        if self.packed is not None:
            try:
                self.packed.unpack([(part.first, into) for part, into in parts])
            except ValueError as error:
                raise self.reader.corrupt(self.row, str(error)) from error
            return
        for part, into in parts:
            into[:] = self.window.patches[part.first : part.stop]  # type: ignore[index]


def window_of(sequence: TokenSequence) -> Window:
    """The whole sequence as a window, which shares its arrays; the images' own files are left out."""
    return Window(
        sequence.ids, sequence.kinds, sequence.loss_mask, sequence.step_splits, sequence.patches, sequence.grids
    )
