"""The values of a field in a record: `tf.train.Example`'s flat lists to one array or byte string a timestep."""

import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.sources.rlds.features import Feature

MAX_ARRAY_BYTES = 2**30  # of a field of an episode; a few compressed bytes could claim any size
FLAT, ROWS = "/ragged_flat_values", "/ragged_row_lengths_"


def keys_of(feature: Feature) -> list[str]:
    """The keys of a record that a field may be stored under."""
    rows = [f"{feature.key}{ROWS}{level}" for level in range(feature.sequences)]
    return [feature.key, feature.key + FLAT, *rows, f"{feature.key}/shape", f"{feature.key}/value"]


def values_of(feature: Feature, example: Mapping[str, Any], steps: int) -> Any:
    """The values of a field in each of `steps` timesteps: array[steps, ...], or a list of bytes.

    Raises ValueError that names the key of what is missing, has another length, or has no one shape in all timesteps.
    """
    if feature.kind != "numbers":
        return _list_of(example, feature.key, steps)
    if feature.encoding != "none":
        return _decoded(feature, example, steps)
    if feature.sequences:
        return _rows(feature, example, steps)
    return _shaped(_numbers(example, feature.key), feature, steps, feature.shape)


def number_of_steps(feature: Feature, example: Mapping[str, Any]) -> int:
    """The number of timesteps of a record, from a field that has one value, or a known number of them, in each."""
    values = _present(example, feature.key)
    return len(values) // math.prod(side or 1 for side in feature.shape) if feature.kind == "numbers" else len(values)


def scalar_of(feature: Feature, example: Mapping[str, Any]) -> Any:
    """The one value of an episode's field: a number, or bytes; None if the record does not have it."""
    values = example.get(feature.key, ())
    return values[0] if len(values) == 1 else None


def _present(example: Mapping[str, Any], key: str) -> Any:
    if key not in example:
        raise ValueError(f"{key}: missing in the record")
    return example[key]


def _list_of(example: Mapping[str, Any], key: str, steps: int) -> list[bytes]:
    values = _present(example, key)
    if not isinstance(values, list) or len(values) != steps:
        kind = "byte strings" if isinstance(values, list) else "numbers"
        raise ValueError(f"{key}: expected {steps} byte strings, one a timestep, got {len(values)} {kind}")
    return values


def _numbers(example: Mapping[str, Any], key: str) -> NDArray[Any]:
    values = _present(example, key)
    if isinstance(values, list):
        if values:
            raise ValueError(f"{key}: expected numbers, got byte strings")
        return np.zeros(0, np.int64)
    return np.asarray(values)


def _shaped(flat: NDArray[Any], feature: Feature, steps: int, shape: tuple[int | None, ...]) -> NDArray[Any]:
    """Cut flat values into [steps, *shape], of which one side may be unknown."""
    known = steps * math.prod(side for side in shape if side is not None)
    unknown = shape.count(None)
    if not (flat.size == known if not unknown else unknown == 1 and known and flat.size % known == 0):
        sides = ["any" if side is None else side for side in shape]
        raise ValueError(f"{feature.key}: {flat.size} numbers do not make {steps} timesteps of shape {sides}")
    sides = [flat.size // known if side is None else side for side in shape]
    return _typed(flat, feature).reshape(steps, *sides)


def _typed(flat: NDArray[Any], feature: Feature) -> NDArray[Any]:
    if feature.dtype == np.uint64:
        return flat.view(np.uint64)  # a record holds its bits as int64
    if flat.dtype.kind == "f" and feature.dtype.kind in "iub":
        raise ValueError(f"{feature.key}: expected {feature.dtype}, got floats")
    if feature.dtype.kind in "iu" and flat.size:
        info = np.iinfo(feature.dtype)
        if flat.min() < info.min or flat.max() > info.max:
            raise ValueError(f"{feature.key}: {flat.min()} to {flat.max()} does not fit {feature.dtype}")
    return flat.astype(feature.dtype, copy=False)


def _rows(feature: Feature, example: Mapping[str, Any], steps: int) -> NDArray[Any]:
    """Values of sequences inside the timesteps, which must have one length in all of them."""
    sides: list[int | None] = []
    for level in range(feature.sequences):
        lengths = _numbers(example, f"{feature.key}{ROWS}{level}")
        if (lengths != lengths[:1]).any() or (level == 0 and len(lengths) != steps):
            found = f"{len(lengths)} lengths from {lengths.min()} to {lengths.max()}" if lengths.size else "no lengths"
            raise ValueError(f"{feature.key}: its length varies between timesteps or within one: {found}")
        sides.append(int(lengths[0]) if lengths.size else 0)
    flat = _numbers(example, feature.key + FLAT)
    return _shaped(flat, feature, steps, (*sides, *feature.shape[feature.sequences :]))


def _decoded(feature: Feature, example: Mapping[str, Any], steps: int) -> NDArray[Any]:
    """Arrays that are stored as byte strings, perhaps compressed, with their shape beside them if it is unknown."""
    if feature.sequences:
        raise ValueError(f"{feature.key}: a sequence of arrays that are byte strings cannot be read")
    shape = feature.shape
    key = feature.key
    if shape.count(None) > 1:
        shapes = _numbers(example, f"{key}/shape").reshape(steps, -1)
        if (shapes != shapes[:1]).any() or shapes.shape[1] != len(shape):
            raise ValueError(f"{key}: its shape varies between timesteps")
        shape, key = tuple(int(side) for side in (shapes[0] if steps else ())), f"{key}/value"
    known = math.prod(side for side in shape if side is not None) * feature.dtype.itemsize
    limit = MAX_ARRAY_BYTES // max(steps, 1)
    if known > limit:
        raise ValueError(f"{key}: {known} bytes a timestep are more than an episode may have")
    unpack = _inflated if feature.encoding == "zlib" else _as_it_is
    raw = b"".join(unpack(data, known if None not in shape else limit, key) for data in _list_of(example, key, steps))
    if len(raw) % feature.dtype.itemsize:
        raise ValueError(f"{key}: {len(raw)} bytes are no whole number of {feature.dtype}")
    flat = np.frombuffer(raw, feature.dtype.newbyteorder("<")).astype(feature.dtype, copy=False)
    return _shaped(flat, Feature(key, "numbers", flat.dtype), steps, shape)


def _as_it_is(data: bytes, most: int, key: str) -> bytes:
    return data


def _inflated(data: bytes, most: int, key: str) -> bytes:
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(data, most + 1)
    except zlib.error as error:
        raise ValueError(f"{key}: cannot be decompressed: {error}") from error
    if len(raw) > most or not stream.eof:
        raise ValueError(f"{key}: decompressed, it has not {most} bytes a timestep, or it is cut short")
    return raw
