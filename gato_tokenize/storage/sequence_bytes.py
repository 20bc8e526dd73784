"""Record bytes to a token sequence, quickly: the metadata, which cost twice as much as the tokens, may stay unread."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_tokenize.modalities.image import ImageTokenizer
from gato_tokenize.sequence import TokenSequence
from gato_tokenize.storage.deflate import inflate, inflate_parts
from gato_tokenize.storage.example import Value, decode_example, decode_varints
from gato_tokenize.storage.schema import FIELDS, READABLE, RecordField
from gato_tokenize.vocabulary import Kind

_PATCH, _MAX_KIND = int(Kind.PATCH), int(max(Kind))
_PATCH_BYTES = 16 * 16 * 3
_NO_PATCHES, _NO_GRIDS = np.zeros((0, 16, 16, 3), np.uint8), np.zeros((0, 2), np.int32)
_LIST_TAGS = {"bytes": 0x0A, "float32": 0x12, "int64": 0x1A}  # the fields of a `Feature`
_BY_KEY = {field.key.encode(): field for field in FIELDS}
_ALWAYS = {field.key.encode() for field in FIELDS if not field.absent}
_ALWAYS_IN_SCHEMA_1 = set(_BY_KEY) - {b"rewards"}
_OF_TOKENS = {
    key: field for key, field in _BY_KEY.items() if not key.startswith(b"episode_metadata/") and key != b"rewards"
}


def decode_sequence(data: bytes, vocabulary_size: int = 2**31) -> TokenSequence:
    """The sequence of a record's bytes: `Record.from_bytes(data).sequence` without the work for the metadata.

    Raises ValueError if `data` is no record of this schema, or an id is not below `vocabulary_size`.
    """
    return sequence_of(_read(data, _OF_TOKENS), vocabulary_size)


def decode_tokens(data: bytes, vocabulary_size: int = 2**31) -> "tuple[TokenSequence, PackedPatches | None]":
    """As `decode_sequence`, but its patches stay packed: those of the sequence are zeros that take no memory.

    The second value is None if the record has no images.
    """
    return _sequence_of(_read(data, _OF_TOKENS), vocabulary_size)


def sequence_of(values: Mapping[str, Any], vocabulary_size: int = 2**31) -> TokenSequence:
    """The sequence of a record's values, as `read_values` gives them.

    Raises ValueError naming the feature that contradicts the others.
    """
    sequence, packed = _sequence_of(values, vocabulary_size)
    return sequence if packed is None else dataclasses.replace(sequence, patches=packed.all())


def _sequence_of(values: Mapping[str, Any], vocabulary_size: int) -> "tuple[TokenSequence, PackedPatches | None]":
    ids, splits = values["tokens"], values.get("step_splits")
    if ids.size and (ids.min() < 0 or ids.max() >= vocabulary_size):
        raise ValueError(f"feature 'tokens' holds ids outside the vocabulary [0, {vocabulary_size})")
    if splits is None:
        splits = np.array([0, len(ids)], np.int64)
    elif splits.size and splits[-1] != len(ids):  # `TokenSequence` checks the rest, but allows padding
        raise ValueError(f"feature 'step_splits' ends at {splits[-1]}, there are {len(ids)} tokens")
    kinds = _numbers(values, "token_kind", len(ids), _MAX_KIND, absent=0)
    loss_mask = _numbers(values, "loss_mask", len(ids), 1, absent=1)
    grids, packed = _images(values, kinds)
    patches = np.broadcast_to(np.uint8(0), (packed.count, 16, 16, 3)) if packed else _NO_PATCHES
    files = tuple(packed.files) if packed else ()
    return TokenSequence(ids.astype(np.int32), kinds, loss_mask, splits, patches, grids, files), packed


def _numbers(values: Mapping[str, Any], key: str, length: int, most: int, absent: int) -> NDArray[np.uint8]:
    if key not in values:
        return np.full(length, absent, np.uint8)
    numbers = _inflated(values[key][0], length, key)
    if length and (found := numbers.max()) > most:
        raise ValueError(f"feature {key!r} holds {found}, the most is {most}")
    return numbers


@dataclasses.dataclass(frozen=True, eq=False)
class PackedPatches:
    """The patches of a record's images as it stores them: deflated, or as the images' own files."""

    count: int  # of the patches
    deflated: bytes
    files: Sequence[bytes]
    grids: NDArray[np.int32]  # [m, 2] rows and columns of patches of each image

    def all(self) -> NDArray[np.uint8]:
        """Unpack uint8[count, 16, 16, 3]. Raises ValueError if the record holds something else."""
        if not self.files:
            return _inflated(self.deflated, self.count * _PATCH_BYTES, "image_patches").reshape(-1, 16, 16, 3)
        return np.concatenate([self._image(number) for number in range(len(self.files))])

    def unpack(self, parts: Sequence[tuple[int, NDArray[np.uint8]]]) -> None:
        """Fill each array, uint8[n, 16, 16, 3], with the patches from its start on. Of files, only those that hold some
        of them are decoded. Raises as `all` does."""
        if not self.files:
            flat = [(start * _PATCH_BYTES, into.reshape(-1)) for start, into in parts]
            with _named("image_patches"):
                inflate_parts(self.deflated, self.count * _PATCH_BYTES, flat)
            return
        ends = np.cumsum(self.grids.astype(np.int64).prod(axis=1)).tolist()
        for number, (at, stop) in enumerate(zip([0, *ends], ends, strict=False)):
            wanted = [(start, into) for start, into in parts if start < stop and at < start + len(into)]
            image = self._image(number) if wanted else _NO_PATCHES
            for start, into in wanted:
                low, high = max(start, at), min(start + len(into), stop)
                into[low - start : high - start] = image[low - at : high - at]

    def _image(self, number: int) -> NDArray[np.uint8]:
        image = ImageTokenizer().encode(self.files[number])
        if image.grid != tuple(self.grids[number].tolist()):
            raise ValueError("feature 'images/encoded' does not fit 'image_grid'")
        return image.pixels


def _images(values: Mapping[str, Any], kinds: NDArray[np.uint8]) -> tuple[NDArray[np.int32], PackedPatches | None]:
    """(the images' grids int32[m, 2], their patches if there are any)."""
    grid, files = values.get("image_grid", _NO_GRIDS), values.get("images/encoded", ())
    packed = values.get("image_patches", [b""])[0]
    if not (grid.size or files or packed):  # most records; `TokenSequence` counts the patch tokens
        return _NO_GRIDS, None
    if grid.size % 2 or (grid < 1).any() or (grid > 2**16).any():
        raise ValueError(f"feature 'image_grid' holds no pairs of rows and columns: {grid.tolist()[:8]}")
    grids = grid.reshape(-1, 2).astype(np.int32)
    return grids, PackedPatches(int(np.count_nonzero(kinds == _PATCH)), packed, files, grids)


@contextlib.contextmanager
def _named(key: str) -> Iterator[None]:
    """Name the feature in a ValueError."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"feature {key!r} {error}") from error


def _inflated(data: bytes, length: int, key: str) -> NDArray[np.uint8]:
    """uint8[length] from zlib."""
    if not data and not length:
        return np.zeros(0, np.uint8)
    with _named(key):
        return np.frombuffer(inflate(data, length), np.uint8)


def read_values(data: bytes) -> dict[str, Value]:
    """{key: a list of bytes, int64[n] or float32[n]} of the fields that a record has; unknown features are passed over.

    Raises ValueError if `data` is no Example, has a schema version that this release does not know, or lacks a field
    that every record of its schema version has.
    """
    return _read(data, _BY_KEY)


def _read(data: bytes, wanted: Mapping[bytes, RecordField]) -> dict[str, Value]:
    """The values of the wanted fields, by a walk over the bytes as `encode_example` lays them out; it is three times
    as fast as `decode_example`, which reads what another writer laid out otherwise."""
    try:
        values = _walk(data, wanted)
    except (ValueError, IndexError):
        values = decode_example(data)
        for field in wanted.values():
            _check_type(values, field)
    _check_present(values, wanted)
    return values


def _check_present(values: Mapping[str, Value], wanted: Mapping[bytes, RecordField]) -> None:
    for field in wanted.values():
        if field.key in values and field.scalar and len(values[field.key]) != 1:
            raise ValueError(f"feature {field.key!r} must hold one value, not {len(values[field.key])}")
    version = int(values["schema_version"][0]) if "schema_version" in values else 2
    if version not in READABLE:
        raise ValueError(f"schema_version {version}: this release reads {' and '.join(map(str, READABLE))}")
    always = _ALWAYS_IN_SCHEMA_1 if version == 1 else _ALWAYS
    missing = next((field.key for key, field in wanted.items() if key in always and field.key not in values), None)
    if missing:
        raise ValueError(f"no feature {missing!r}: not a record of this toolchain")


def _check_type(values: dict[str, Value], field: RecordField) -> None:
    value = values.get(field.key, ())
    if not len(value):  # the wire does not say which type an empty list has
        if field.key in values:
            values[field.key] = [] if field.dtype == "bytes" else np.zeros(0, field.dtype)
        return
    dtype = str(value.dtype) if isinstance(value, np.ndarray) else "bytes"
    if dtype != field.dtype:
        raise ValueError(f"feature {field.key!r} is not a list of {field.dtype}")


def _walk(data: bytes, wanted: Mapping[bytes, RecordField]) -> dict[str, Value]:
    """The values of the wanted fields; IndexError or ValueError if the bytes are cut, or framed otherwise."""
    at = _body(data, 0, len(data), 0x0A)
    values: dict[str, Value] = {}
    while at < len(data):
        size, start = _size(data, at + 1)
        key = start + 2  # keys are short: their size is one byte
        value = key + data[start + 1]
        field = wanted.get(data[key:value])
        if data[at] != 0x0A or data[start] != 0x0A:
            raise ValueError(f"the feature at byte {at} is no pair of key and value")
        at = start + size
        if field:
            values[field.key] = _value(data, _body(data, value, at, 0x12), at, field)
    if at != len(data):
        raise ValueError("the tf.train.Example is truncated")
    return values


def _value(data: bytes, at: int, stop: int, field: RecordField) -> Value:
    """The value of the `Feature` in bytes at to stop; numbers are packed in one item."""
    items = []
    at = _body(data, at, stop, _LIST_TAGS[field.dtype]) if at < stop else stop
    while at < stop:
        size, start = _size(data, at + 1)
        if data[at] != 0x0A or start + size > stop:
            raise ValueError(f"feature {field.key!r} is no list of {field.dtype}")
        items.append(data[start : start + size])
        at = start + size
    if field.dtype == "bytes":
        return items
    if len(items) > 1:
        raise ValueError(f"feature {field.key!r} has its numbers in {len(items)} parts")
    packed = items[0] if items else b""
    return decode_varints(packed) if field.dtype == "int64" else np.frombuffer(packed, "<f4").astype(np.float32)


def _body(data: bytes, at: int, stop: int, tag: int) -> int:
    """The byte at which the body of a message starts that fills the bytes at to stop."""
    size, start = _size(data, at + 1)
    if data[at] != tag or start + size != stop:
        raise ValueError(f"byte {at} should start a message of {stop - start} bytes with tag {tag}, not {data[at]}")
    return start


def _size(data: bytes, at: int) -> tuple[int, int]:
    """(the varint at byte `at`, the byte after it)."""
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
