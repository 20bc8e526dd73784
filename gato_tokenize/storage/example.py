"""The wire bytes of `tf.train.Example`, without TensorFlow or protobuf: flat features of ints, floats and byte strings.

    Example{ features{ feature{ key, Feature{ bytes_list | float_list | int64_list } } ... } }

The bytes equal `SerializeToString(deterministic=True)`: features in the order of their keys' bytes, numbers packed.
(If one key begins with another, implementations of protobuf disagree on the order; no key of a record does.)
"""

import functools
from collections.abc import Container, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Value: TypeAlias = "Sequence[bytes] | NDArray[np.int64] | NDArray[np.float32]"
_BYTES, _FLOAT, _INT64 = 0x0A, 0x12, 0x1A  # Feature's fields 1, 2 and 3, length-delimited
_64_BITS = 0xFFFFFFFFFFFFFFFF
_SHORT = 256  # bytes of a value that is kept encoded; longer ones, such as pictures, are never the same again
_FEW = 8  # numbers that are encoded one by one faster than by numpy


def encode_example(features: "Mapping[str, Value | int | bytes]") -> bytes:
    """Encode features as wire bytes; each is a sequence of bytes, an int64 array or a float32 array. An int of at most
    64 bits, or one bytes, is short for a list of it, and faster.

    >>> encode_example({"n": np.array([300], np.int64)}).hex(" ")
    '0a 0d 0a 0b 0a 01 6e 12 06 1a 04 0a 02 ac 02'
    """
    entries = []
    for key in sorted(features):  # the order of code points is that of their UTF-8 bytes
        value = features[key]
        if isinstance(value, bytes) and len(value) > _SHORT:
            entries.append(_bytes_entry(key, value))
        else:
            entries.append(
                _short_entry(key, value) if isinstance(value, (int, bytes)) else _entry(key, _feature(value))
            )
    return _field(0x0A, b"".join(entries))


def _entry(key: str, feature: bytes) -> bytes:
    return _field(0x0A, _key(key) + _field(0x12, feature))


@functools.lru_cache(maxsize=1024)  # many records of a dataset have the same task, source, success, ...
def _short_entry(key: str, value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return _bytes_entry(key, value)
    return _entry(key, _field(_INT64, _field(0x0A, _varint(value & _64_BITS))))


def _bytes_entry(key: str, value: bytes) -> bytes:
    return _entry(key, _field(_BYTES, _field(0x0A, value)))


@functools.lru_cache(maxsize=256)
def _key(key: str) -> bytes:
    return _field(0x0A, key.encode())


def decode_example(data: bytes, wanted: "Container[str] | None" = None) -> dict[str, Value]:
    """Decode an Example of any writer: numbers may be unpacked, and keys in any order. wanted: only these keys.

    Raises ValueError if `data` is truncated, has an unknown field, or has a varint of more than 64 bits.
    """
    features: dict[str, Value] = {}
    for tag, body in _fields(data, "Example"):
        _expect(tag, 0x0A, "Example")
        for entry_tag, entry in _fields(body, "Features"):
            _expect(entry_tag, 0x0A, "Features")
            fields = _fields(entry, "feature entry")
            parts = dict(fields)
            if len(parts) != len(fields) or not set(parts) <= {0x0A, 0x12}:
                raise ValueError(f"a feature entry has an unknown or a second field: {sorted(parts)}")
            key = bytes(parts.get(0x0A, b"")).decode()
            if wanted is None or key in wanted:
                features[key] = _values(parts.get(0x12, memoryview(b"")), key)
    return features


def encode_varints(values: NDArray[np.int64]) -> bytes:
    """Encode int64[n] as base-128 varints: seven bits in a byte, low bits first; negative numbers take ten bytes.

    >>> encode_varints(np.array([1, 300])).hex(" ")
    '01 ac 02'
    """
    if values.size <= _FEW:
        return b"".join(_varint(value & _64_BITS) for value in values.tolist())
    top = int(values.view(np.uint64).max())
    if top < 0x80:
        return values.astype(np.uint8).tobytes()
    known = _short_varints()
    table = known.take(values, axis=0) if top < len(known) else _padded_varints(values.view(np.uint64), top)
    used = table != 0  # only the first byte of a varint can be 0
    used[:, 0] = True
    packed: bytes = table[used].tobytes()
    return packed


def _padded_varints(values: NDArray[np.uint64], top: int) -> NDArray[np.uint8]:
    """uint8[n, width]: the varint of each value, with zeros after its end."""
    shifts = np.arange(0, top.bit_length(), 7, dtype=np.uint64)
    left = values[:, None] >> shifts  # [n, width]: the bits that remain at each byte
    table = (left & 0x7F).astype(np.uint8)
    table[:, :-1] |= (left[:, 1:] != 0).view(np.uint8) << 7  # the continuation bit: another byte follows
    return table


@functools.cache
def _short_varints() -> NDArray[np.uint8]:
    """uint8[2**16, 4], 256 KiB, a row for every id: a lookup is three times as fast as encoding."""
    table = np.zeros((1 << 16, 4), np.uint8)
    table[:, :3] = _padded_varints(np.arange(1 << 16, dtype=np.uint64), (1 << 16) - 1)
    return table


def decode_varints(data: "bytes | memoryview") -> NDArray[np.int64]:
    """int64[n], the inverse of `encode_varints`. Raises ValueError for a truncated varint or one over 64 bits."""
    if len(data) <= 1 and (not data or data[0] < 0x80):  # most numbers of a record are single and small
        return np.array([*data], np.int64)
    raw = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(raw < 0x80)
    if not ends.size or ends[-1] != raw.size - 1:
        raise ValueError("a varint is truncated")
    if ends.size == raw.size:
        return raw.astype(np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 10 or (raw[ends[lengths == 10]] > 1).any():
        raise ValueError("a varint has more than 64 bits")
    shifts = (np.arange(raw.size) - np.repeat(starts, lengths)).astype(np.uint64) * np.uint64(7)
    values: NDArray[np.uint64] = np.bitwise_or.reduceat((raw & 0x7F).astype(np.uint64) << shifts, starts)
    return values.view(np.int64)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(tag: int, body: bytes) -> bytes:
    size = len(body)
    return bytes((tag, size)) + body if size < 0x80 else b"".join((bytes((tag,)), _varint(size), body))


def _feature(value: Value) -> bytes:
    if isinstance(value, np.ndarray):
        if value.dtype == np.int64:
            packed = encode_varints(value)  # type: ignore[arg-type]
            return _field(_INT64, _field(0x0A, packed) if packed else b"")
        if value.dtype == np.float32:
            packed = value.astype("<f4").tobytes()
            return _field(_FLOAT, _field(0x0A, packed) if packed else b"")
        raise TypeError(f"a feature is int64, float32 or bytes, not {value.dtype}")
    return _field(_BYTES, b"".join(_field(0x0A, item) for item in value))


def _expect(tag: int, wanted: int, where: str) -> None:
    if tag != wanted:
        raise ValueError(f"{where} has an unknown field: tag {tag}")


def _read_varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(view) or shift > 63:
            raise ValueError("a varint is truncated or has more than 64 bits")
        byte = view[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _fields(data: "bytes | memoryview", where: str) -> list[tuple[int, memoryview]]:
    """(tag, body) of each field; only varints (wire type 0), fixed32 (5) and length-delimited ones (2) occur."""
    view, at, found = memoryview(data), 0, []
    while at < len(view):
        tag, at = _read_varint(view, at)
        if tag & 7 == 0:
            start = at
            _, at = _read_varint(view, at)
        elif tag & 7 in (2, 5):
            size, start = _read_varint(view, at) if tag & 7 == 2 else (4, at)
            at = start + size
        else:
            raise ValueError(f"{where} has a field of an unknown wire type: tag {tag}")
        if at > len(view):
            raise ValueError(f"{where} is truncated: {at - len(view)} bytes are missing")
        found.append((tag, view[start:at]))
    return found


def _values(feature: memoryview, key: str) -> Value:
    lists = _fields(feature, key)
    if not lists:
        return []
    if len(lists) > 1:
        raise ValueError(f"feature {key!r} has {len(lists)} lists")
    tag, items = lists[0][0], _fields(lists[0][1], key)
    joined = b"".join(item for _, item in items)  # the bytes are the same, packed in one field or unpacked in many
    tags = {item_tag for item_tag, _ in items}
    if tag == _BYTES and tags <= {0x0A}:
        return [bytes(item) for _, item in items]
    if tag == _INT64 and tags <= {0x0A, 0x08} and all(len(item) and item[-1] < 0x80 for _, item in items):
        return decode_varints(joined)
    if tag == _FLOAT and tags <= {0x0A, 0x0D} and all(len(item) % 4 == 0 for _, item in items):
        return np.frombuffer(joined, "<f4").astype(np.float32)
    raise ValueError(f"feature {key!r} is no list of bytes, floats or ints: tag {tag}, items {sorted(tags)}")
