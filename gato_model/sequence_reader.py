"""Records read by their place in a shard: checksums checked, descriptors, memory and metadata kept small."""

import os
import struct
import threading
import zlib
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_model.episode_table import EpisodeTable
from gato_model.windows import Window
from gato_tokenize.example import decode_example, encode_varints
from gato_tokenize.image import ImageTokenizer
from gato_tokenize.records import FIELDS, SCHEMA_VERSION
from gato_tokenize.tfrecord import FOOTER, HEADER, CorruptRecordError, Damage, masked_crc32c
from gato_tokenize.vocabulary import Kind

_OPEN_FILES = 64
_TOKEN_FIELDS = {field.key.encode(): field for field in FIELDS if not field.key.startswith("episode_metadata/")}


class SequenceReader:
    """The sequences of a table's records, as whole `Window`s.

    vocabulary_size: ids must be below it; cache_bytes: how much of what was read last may stay in memory.
    bytes_read counts what came from the files. Threads may share a reader.
    """

    def __init__(self, table: EpisodeTable, vocabulary_size: int, cache_bytes: int = 0) -> None:
        self.table, self.vocabulary_size, self.cache_bytes = table, vocabulary_size, cache_bytes
        self.bytes_read = 0
        self._files: OrderedDict[int, int] = OrderedDict()  # shard: descriptor, the one used last at the end
        self._cache: OrderedDict[int, Window] = OrderedDict()
        self._cached_bytes = 0
        self._lock = threading.Lock()

    def read(self, row: int) -> Window:
        """The sequence of the table's record `row`. Raises CorruptRecordError naming shard, record and offset."""
        with self._lock:
            if row in self._cache:
                self._cache.move_to_end(row)
                return self._cache[row]
            sequence = self._decoded(row)
            if self.cache_bytes:
                self._keep(row, sequence)
            return sequence

    def data(self, row: int) -> bytes:
        """The record's bytes, checksums checked. Raises CorruptRecordError."""
        columns = self.table.columns
        offset, size = int(columns["offset"][row]), int(columns["bytes"][row])
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
            sequence = decode_sequence(data)
            if len(sequence) != self.table.tokens[row]:
                raise ValueError(f"it has {len(sequence)} tokens, the episode list says {self.table.tokens[row]}")
            if sequence.ids.min() < 0 or sequence.ids.max() >= self.vocabulary_size:
                raise ValueError(f"it holds ids outside the vocabulary [0, {self.vocabulary_size})")
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


def decode_sequence(data: bytes) -> Window:
    """What `Record.from_bytes(data).sequence` holds, without the metadata, which cost twice as much as the tokens.

    Raises ValueError where `data` is no record of this schema.
    """
    values = decode_example(_token_features(data))
    for field in _TOKEN_FIELDS.values():
        value = values.get(field.key)
        if value is None or (field.scalar and len(value) != 1):
            raise ValueError(f"feature {field.key!r} is missing, or not one value")
    if int(values["schema_version"][0]) != SCHEMA_VERSION:
        raise ValueError(f"schema_version {values['schema_version'][0]}: this release reads {SCHEMA_VERSION}")
    return _window(values)


def _window(values: dict[str, Any]) -> Window:
    ids, splits = np.asarray(values["tokens"], np.int64), np.asarray(values["step_splits"], np.int64)
    lengths = np.diff(splits)
    if not splits.size or splits[0] or splits[-1] != len(ids) or (lengths < 0).any():
        raise ValueError(f"feature 'step_splits' does not rise from 0 to the {len(ids)} tokens: {splits[:8]}")
    kinds = _inflated(values["token_kind"][0], len(ids), "token_kind")
    loss_mask = _inflated(values["loss_mask"][0], len(ids), "loss_mask")
    if ids.size and (kinds.max() > max(Kind) or loss_mask.max() > 1 or ids.min() < 0 or ids.max() >= 2**31):
        raise ValueError("feature 'token_kind', 'loss_mask' or 'tokens' holds a number that is out of its range")
    grids = np.asarray(values["image_grid"], np.int64).reshape(-1, 2).astype(np.int32)
    count = int(np.count_nonzero(kinds == Kind.PATCH))
    if count != int(grids.astype(np.int64).prod(axis=1).sum()):
        raise ValueError(f"{count} patch tokens, but image grids {grids.tolist()[:8]}")
    if values["images/encoded"]:
        patches = _decoded_images(values["images/encoded"], grids)
    else:
        patches = _inflated(values["image_patches"][0], count * 768, "image_patches").reshape(count, 16, 16, 3)
    return Window(ids.astype(np.int32), kinds, loss_mask, lengths, patches, grids)


def _token_features(data: bytes) -> bytes:
    """The Example without the features of the metadata. Raises ValueError where it is cut or framed otherwise."""
    try:
        size, at = _size(data, 1)
        if data[0] != 0x0A or at + size != len(data):
            raise ValueError("not a tf.train.Example of one list of features")
        kept = []
        while at < len(data):
            size, start = _size(data, at + 1)
            key_size, key = _size(data, start + 1)
            if data[at] != 0x0A or data[start] != 0x0A or start + size > len(data):
                raise ValueError(f"the feature at byte {at} is no pair of key and value")
            if data[key : key + key_size] in _TOKEN_FIELDS:
                kept.append(data[at : start + size])
            at = start + size
    except IndexError as error:
        raise ValueError("the tf.train.Example is truncated") from error
    body = b"".join(kept)
    return b"\x0a" + encode_varints(np.array([len(body)])) + body


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


def _decoded_images(encoded: list[bytes], grids: NDArray[np.int32]) -> NDArray[np.uint8]:
    images = [ImageTokenizer().encode(data) for data in encoded]
    if [image.grid for image in images] != [tuple(grid) for grid in grids.tolist()]:
        raise ValueError("feature 'images/encoded' does not fit 'image_grid'")
    return np.concatenate([image.pixels for image in images])
