"""The wire bytes of `tf.train.Example`, without TensorFlow or protobuf: flat features of ints, floats and byte strings.

    Example{ features{ feature{ key, Feature{ bytes_list | float_list | int64_list } } ... } }

The bytes equal `SerializeToString(deterministic=True)`: features in the order of their keys' bytes, numbers packed.
(Protobuf's implementations disagree on keys of which one begins another; no key of a record does.)
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Value: TypeAlias = "Sequence[bytes] | NDArray[np.int64] | NDArray[np.float32]"
_BYTES, _FLOAT, _INT64 = 0x0A, 0x12, 0x1A  # Feature's fields 1, 2 and 3, length-delimited


def encode_example(features: Mapping[str, Value]) -> bytes:
    """Features as wire bytes: a sequence of bytes, an int64 array or a float32 array each.

    >>> encode_example({"n": np.array([300], np.int64)}).hex(" ")
    '0a 0d 0a 0b 0a 01 6e 12 06 1a 04 0a 02 ac 02'
    """
    entries = []
    for key in sorted(key.encode() for key in features):
        entry = _field(0x0A, key) + _field(0x12, _feature(features[key.decode()]))
        entries.append(_field(0x0A, entry))
    return _field(0x0A, b"".join(entries))


def decode_example(data: bytes) -> dict[str, Value]:
    """The inverse of `encode_example`. Reads what TensorFlow writes too (unpacked numbers, any order of keys).

    Raises ValueError where `data` is no Example: truncated, an unknown field, a varint of more than 64 bits.
    """
    features: dict[str, Value] = {}
    for tag, body in _fields(data, "Example"):
        _expect(tag, 0x0A, "Example")
        for entry_tag, entry in _fields(body, "Features"):
            _expect(entry_tag, 0x0A, "Features")
            parts = dict(_fields(entry, "feature entry"))
            if not set(parts) <= {0x0A, 0x12}:
                raise ValueError(f"a feature entry has an unknown field: {sorted(parts)}")
            key = bytes(parts.get(0x0A, b"")).decode()
            features[key] = _values(parts.get(0x12, memoryview(b"")), key)
    return features


def encode_varints(values: NDArray[np.int64]) -> bytes:
    """Each of int64[n] as a base-128 varint, seven bits a byte, low bits first; negative ones take ten bytes.

    >>> encode_varints(np.array([1, 300])).hex(" ")
    '01 ac 02'
    """
    if not values.size:
        return b""
    rest = values.astype(np.uint64)
    top = int(rest.max())
    width = max(1, -(-top.bit_length() // 7))
    if width == 1:
        return rest.astype(np.uint8).tobytes()
    shifts = np.arange(0, 7 * width, 7, dtype=np.uint64)
    if top < 2**32:  # the common case, at half the memory traffic
        rest, shifts = rest.astype(np.uint32), shifts.astype(np.uint32)
    left = rest[:, None] >> shifts  # [n, width]: what is still to be written at each byte
    used = left != 0
    used[:, 0] = True
    table = (left & 0x7F).astype(np.uint8)
    table[:, :-1] |= used[:, 1:].view(np.uint8) << 7  # the continuation bit: another byte follows
    packed: bytes = table[used].tobytes()
    return packed


def decode_varints(data: "bytes | memoryview") -> NDArray[np.int64]:
    """int64[n], the inverse of `encode_varints`. Raises ValueError for a truncated varint or one over 64 bits."""
    raw = np.frombuffer(data, np.uint8)
    if not raw.size:
        return np.zeros(0, np.int64)
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
    return b"".join((bytes((tag,)), _varint(len(body)), body))


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
    value: Value = []
    for tag, body in _fields(feature, key):
        items = _fields(body, key)
        joined = b"".join(item for _, item in items)  # packed in one field, or unpacked in many: the bytes are the same
        tags = {item_tag for item_tag, _ in items}
        if tag == _BYTES and tags <= {0x0A}:
            value = [bytes(item) for _, item in items]
        elif tag == _INT64 and tags <= {0x0A, 0x08}:
            value = decode_varints(joined)
        elif tag == _FLOAT and tags <= {0x0A, 0x0D} and len(joined) % 4 == 0:
            value = np.frombuffer(joined, "<f4").astype(np.float32)
        else:
            raise ValueError(f"feature {key!r} is no list of bytes, floats or ints: tag {tag}, items {sorted(tags)}")
    return value
