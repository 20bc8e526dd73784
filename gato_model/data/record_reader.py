"""Read records by their place in a shard: with checksums, few open files, and a bounded cache."""

import os
import struct
import threading
import zlib
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from gato_model.data.episode_table import EpisodeTable
from gato_model.data.windows import Window
from gato_tokenize.modalities.image import ImageTokenizer
from gato_tokenize.storage.example import decode_varints, encode_varints
from gato_tokenize.storage.records import FIELDS, SCHEMA_VERSION, RecordField
from gato_tokenize.storage.tfrecord import FOOTER, HEADER, CorruptRecordError, Damage, masked_crc32c
from gato_tokenize.vocabulary import Kind

_OPEN_FILES = 64
_VERSION, _LAST_KIND = encode_varints(np.array([SCHEMA_VERSION])), int(max(Kind))
_NO_IMAGES = np.zeros((0, 16, 16, 3), np.uint8), np.zeros((0, 2), np.int32)
_TOKEN_FIELDS = {field.key.encode(): field for field in FIELDS if not field.key.startswith("episode_metadata/")}


class SequenceReader:
    """A reader of the sequences of a table's records, as whole `Window`s. Threads may share it.

    vocabulary_size: ids must be below it
    cache_bytes: bytes of the latest sequences that may stay in memory
    bytes_read: bytes that came from the files so far
    """

    def __init__(self, table: EpisodeTable, vocabulary_size: int, cache_bytes: int = 0) -> None:
        self.table, self.vocabulary_size, self.cache_bytes = table, vocabulary_size, cache_bytes
        self.bytes_read = 0
        self._files: OrderedDict[int, int] = OrderedDict()  # {shard: descriptor}, the latest used last
        self._cache: OrderedDict[int, Window] = OrderedDict()
        self._cached_bytes = 0
        self._lock = threading.RLock()

    def read(self, row: int) -> Window:
        """Read the sequence in row `row` of the table. Raises CorruptRecordError naming shard, record and offset."""
        with self._lock:
            if row in self._cache:
                self._cache.move_to_end(row)
                return self._cache[row]
            sequence = self._decoded(row)
            if self.cache_bytes:
                self._keep(row, sequence)
            return sequence

    def data(self, row: int) -> bytes:
        """Read a record's bytes and check their checksums. Raises CorruptRecordError."""
        columns = self.table.columns
        offset, size = int(columns["offset"][row]), int(columns["bytes"][row])
        with self._lock:
            framed = os.pread(self._file(int(columns["shard"][row])), size, offset)
            self.bytes_read += len(framed)
        if len(framed) < size or size < HEADER + FOOTER:
            raise self._corrupt(row, f"{size} bytes are expected here, {len(framed)} could be read")
        length, crc = struct.unpack_from("<QI", framed)
        if masked_crc32c(framed[:8]) != crc:
            raise self._corrupt(row, "the checksum of its length does not match")
        if length != size - HEADER - FOOTER:
            raise self._corrupt(row, f"its length is given as {length}, the episode list says {size - HEADER - FOOTER}")
        data = framed[HEADER:-FOOTER]
        if masked_crc32c(data) != struct.unpack("<I", framed[-FOOTER:])[0]:
            raise self._corrupt(row, "the checksum of its data does not match")
        return data

    def close(self) -> None:
        """Close the files; reading opens them again."""
        with self._lock:
            while self._files:
                os.close(self._files.popitem()[1])

    def __del__(self) -> None:
        for descriptor in getattr(self, "_files", {}).values():
            os.close(descriptor)

    def _decoded(self, row: int) -> Window:
        data = self.data(row)
        try:
            sequence = decode_sequence(data, self.vocabulary_size)
            if len(sequence) != self.table.tokens[row]:
                raise ValueError(f"it has {len(sequence)} tokens, the episode list says {self.table.tokens[row]}")
        except ValueError as error:
            raise self._corrupt(row, str(error)) from error
        return sequence

    def _keep(self, row: int, sequence: Window) -> None:
        self._cache[row] = sequence
        self._cached_bytes += sequence.nbytes
        while self._cached_bytes > self.cache_bytes:
            self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes

    def _file(self, shard: int) -> int:
        if shard not in self._files:
            if len(self._files) >= _OPEN_FILES:
                os.close(self._files.popitem(last=False)[1])
            self._files[shard] = os.open(self.table.shards[shard], os.O_RDONLY)
        self._files.move_to_end(shard)
        return self._files[shard]

    def _corrupt(self, row: int, reason: str) -> CorruptRecordError:
        columns = self.table.columns
        path, number = str(self.table.shards[columns["shard"][row]]), int(columns["record"][row])
        return CorruptRecordError(Damage(path, number, int(columns["offset"][row]), reason, ends_shard=False))


def decode_sequence(data: bytes, vocabulary_size: int = 2**31) -> Window:
    """What `Record.from_bytes(data).sequence` holds. The metadata, which cost twice as much as the tokens, stay unread.

    Raises ValueError where `data` is no record of this schema, or an id is not below `vocabulary_size`.
    """
    items = _token_items(data)
    for field in _TOKEN_FIELDS.values():
        if field.key not in items or (field.scalar and len(items[field.key]) != 1):
            raise ValueError(f"feature {field.key!r} is missing, or not one value")
    if items["schema_version"][0] != _VERSION:
        version = _integers(items["schema_version"]).tolist()
        raise ValueError(f"schema_version {version}: this release reads {SCHEMA_VERSION}")
    ids, splits = _integers(items["tokens"]), _integers(items["step_splits"])
    if ids.size and (ids.min() < 0 or ids.max() >= vocabulary_size):
        raise ValueError(f"feature 'tokens' holds ids outside the vocabulary [0, {vocabulary_size})")
    if not splits.size or splits[0] or splits[-1] != len(ids) or (splits[1:] < splits[:-1]).any():
        raise ValueError(f"feature 'step_splits' does not rise from 0 to the {len(ids)} tokens: {splits[:8]}")
    kinds = _inflated(items["token_kind"][0], len(ids), "token_kind")
    loss_mask = _inflated(items["loss_mask"][0], len(ids), "loss_mask")
    if ids.size and (kinds.max() > _LAST_KIND or loss_mask.max() > 1):
        raise ValueError("feature 'token_kind' or 'loss_mask' holds a number that is out of its range")
    return Window(ids.astype(np.int32), kinds, loss_mask, splits, *_images(items, kinds))


def _images(items: dict[str, list[bytes]], kinds: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """(uint8[p, 16, 16, 3], the images' grids int32[m, 2])."""
    count = int(np.count_nonzero(kinds == Kind.PATCH))
    if not (count or items["image_grid"] or items["images/encoded"] or items["image_patches"][0]):
        return _NO_IMAGES
    grid = _integers(items["image_grid"])
    if grid.size % 2 or (grid < 1).any() or (grid > 2**16).any() or int((grid[::2] * grid[1::2]).sum()) != count:
        raise ValueError(f"{count} patch tokens, but feature 'image_grid' holds {grid.tolist()[:8]}")
    grids = grid.reshape(-1, 2).astype(np.int32)
    if not items["images/encoded"]:
        pixels = _inflated(items["image_patches"][0], count * 16 * 16 * 3, "image_patches")
        return pixels.reshape(count, 16, 16, 3), grids
    images = [ImageTokenizer().encode(data) for data in items["images/encoded"]]
    if [image.grid for image in images] != [tuple(pair) for pair in grids.tolist()]:
        raise ValueError("feature 'images/encoded' does not fit 'image_grid'")
    return np.concatenate([image.pixels for image in images]), grids


def _token_items(data: bytes) -> dict[str, list[bytes]]:
    """{key: the items of its list} of the fields that are no metadata; packed numbers are one item.

    A walk over the wire bytes as `storage.example` writes them, three times as fast as decoding everything.
    Raises ValueError where they are cut or framed otherwise.
    """
    try:
        at = _body(data, 0, len(data), 0x0A)
        items = {}
        while at < len(data):
            size, start = _size(data, at + 1)
            key = start + 2  # keys are short: their size is one byte
            value = key + data[start + 1]
            field = _TOKEN_FIELDS.get(data[key:value])
            if data[at] != 0x0A or data[start] != 0x0A:
                raise ValueError(f"the feature at byte {at} is no pair of key and value")
            at = start + size
            if field:
                items[field.key] = _list_items(data, _body(data, value, at, 0x12), at, field)
    except IndexError as error:
        raise ValueError("the tf.train.Example is truncated") from error
    if at != len(data):
        raise ValueError("the tf.train.Example is truncated")
    return items


def _list_items(data: bytes, at: int, stop: int, field: RecordField) -> list[bytes]:
    """The items of the list in bytes at to stop."""
    items = []
    at = _body(data, at, stop, 0x0A if field.dtype == "bytes" else 0x1A) if at < stop else stop
    while at < stop:
        size, start = _size(data, at + 1)
        if data[at] != 0x0A or start + size > stop:
            raise ValueError(f"feature {field.key!r} is no list of {field.dtype}")
        items.append(data[start : start + size])
        at = start + size
    return items


def _body(data: bytes, at: int, stop: int, tag: int) -> int:
    """Where the body of the one message that fills bytes at to stop starts."""
    size, start = _size(data, at + 1)
    if data[at] != tag or start + size != stop:
        raise ValueError(f"byte {at} should start a message of {stop - start} bytes with tag {tag}, not {data[at]}")
    return start


def _size(data: bytes, at: int) -> tuple[int, int]:
    """(the varint at byte `at`, the byte behind it)."""
    value = data[at]
    if value < 0x80:
        return value, at + 1
    value, shift = value & 0x7F, 7
    while True:
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
        shift += 7


def _integers(items: list[bytes]) -> NDArray[np.int64]:
    return decode_varints(items[0] if len(items) == 1 else b"".join(items))


def _inflated(data: bytes, length: int, key: str) -> NDArray[np.uint8]:
    """uint8[length] from zlib, of which no more is inflated than it should hold."""
    if not data and not length:
        return np.zeros(0, np.uint8)
    try:
        raw = zlib.decompressobj().decompress(data, length + 1)
    except zlib.error as error:
        raise ValueError(f"feature {key!r} is no zlib data: {error}") from error
    if len(raw) != length:
        raise ValueError(f"feature {key!r} does not inflate to {length} bytes")
    return np.frombuffer(raw, np.uint8)
