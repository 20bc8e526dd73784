"""The features.json of an RLDS dataset: which fields a timestep and an episode have, and how a record stores them."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from gato_tokenize.spec import join_path

STEPS = "steps"
MAX_DEPTH = 32
_AS_FLOAT32 = ("float16", "bfloat16")  # a record stores floats as float32, whatever their dtype


@dataclasses.dataclass(frozen=True)
class Feature:
    """One field: of each timestep, or of the episode as a whole.

    key: its key in a record. shape: of one timestep, None where a length is not stated. sequences: how many of its
    first axes are stored as row lengths (TFDS's Sequence). encoding: "none", or "bytes" or "zlib" for an array that is
    one byte string. classes: of a label. low, high: the bounds, if they are stated.
    """

    key: str
    kind: Literal["numbers", "text", "picture"]
    dtype: np.dtype[Any] = np.dtype(object)  # a dtype is immutable
    shape: tuple[int | None, ...] = ()
    sequences: int = 0
    encoding: str = "none"
    classes: int | None = None
    low: int | None = None
    high: int | None = None


class Features(NamedTuple):
    """The fields of a dataset by path; `unreadable` are those of a timestep that no field of an episode can be."""

    steps: dict[str, Feature]
    episode: dict[str, Feature]
    unreadable: dict[str, str]  # {path: why}


def read_features(text: str) -> Features:
    """Read the content of a features.json. Raises ValueError if it describes no episodes.

    >>> step = {"sequence": {"feature": {"featuresDict": {"features": {"word": {"text": {}}}}}}}
    >>> read_features(json.dumps({"featuresDict": {"features": {"steps": step}}})).steps["word"].key
    'steps/word'
    """
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ValueError(f"it is no JSON: {error}") from error
    if isinstance(content, dict) and "type" in content and "content" in content:
        raise ValueError("it has the form of TFDS before version 4.5; write the dataset again with a newer TFDS")
    top = _members(content)
    if top is None or not isinstance(top.get(STEPS), dict) or "sequence" not in top[STEPS]:
        found = f"has {', '.join(top)}" if top else "has no fields"
        raise ValueError(f"an RLDS dataset has `{STEPS}`, a sequence of timesteps; it {found}")
    found_features = Features({}, {}, {})
    for path, feature in _walk(top[STEPS]["sequence"].get("feature"), "", STEPS, ()):
        _sort(path, feature, found_features)
    for name in sorted(set(top) - {STEPS}):
        for path, feature in _walk(top[name], name, name, ()):
            if isinstance(feature, Feature) and not feature.shape:
                found_features.episode[path] = feature
    if not found_features.steps:
        raise ValueError(f"`{STEPS}` has no field that can be read")
    return found_features


def _sort(path: str, feature: Feature | str, found: Features) -> None:
    why = feature if isinstance(feature, str) else _why_unreadable(feature)
    if why:
        found.unreadable[path] = why
    elif isinstance(feature, Feature):
        found.steps[path] = feature


def _members(node: Any) -> dict[str, Any] | None:
    members = node.get("featuresDict", {}).get("features") if isinstance(node, dict) else None
    return members if isinstance(members, dict) else None


def _walk(node: Any, path: str, key: str, lengths: tuple[int | None, ...]) -> Iterator[tuple[str, Feature | str]]:
    """Yield (path, feature, or why it cannot be read) of every leaf; `lengths` of the sequences above it."""
    members = _members(node)
    if members is not None and path.count("/") < MAX_DEPTH:
        for name in sorted(members):
            below = join_path(path, name) if path else join_path("", name)[1:]
            yield from _walk(members[name], below, f"{key}/{name}", lengths)
    elif isinstance(node, dict) and isinstance(node.get("sequence"), dict) and len(lengths) < MAX_DEPTH:
        inner = node["sequence"]
        yield from _walk(inner.get("feature"), path, key, (*lengths, _length(inner.get("length", -1))))
    else:
        try:
            yield path, _leaf(node, key, lengths)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            yield path, f"its description cannot be read: {error!r}"


def _leaf(node: Mapping[str, Any], key: str, lengths: tuple[int | None, ...]) -> Feature | str:
    count = len(lengths)
    if "text" in node:
        return Feature(key, "text", shape=lengths, sequences=count)
    if "image" in node:
        said = node["image"]
        dtype = np.dtype(said.get("dtype", "uint8"))
        return Feature(key, "picture", dtype, (*lengths, *_shape(said)), count)
    if "classLabel" in node:
        classes = int(node["classLabel"]["numClasses"])
        return Feature(key, "numbers", np.dtype(np.int64), lengths, count, classes=classes)
    if "boundingBox" in node:
        return Feature(key, "numbers", np.dtype(np.float32), (*lengths, 4), count)
    if "tensor" not in node:
        name = str(node.get("pythonClassName", "")).rpartition(".")[2]
        return f"a feature of the class {name or 'unknown'}"
    return _tensor(node["tensor"], key, lengths)


def _tensor(said: Mapping[str, Any], key: str, lengths: tuple[int | None, ...]) -> Feature | str:
    name, encoding = said["dtype"], str(said.get("encoding", "none")).lower() or "none"
    shape = (*lengths, *_shape(said))
    if name in ("string", "object"):
        return Feature(key, "text", shape=shape, sequences=len(lengths))
    if name in _AS_FLOAT32 and encoding == "none":
        name = "float32"
    try:
        dtype = np.dtype(name)
    except TypeError:
        return f"numbers of the dtype {name}"
    if encoding not in ("none", "bytes", "zlib"):
        return f"an array in the encoding {encoding}"
    low, high = (int(said[bound]) if bound in said else None for bound in ("minimum", "maximum"))
    if low is None or high is None or low >= high:
        low = high = None
    return Feature(key, "numbers", dtype, shape, len(lengths), encoding, None, low, high)


def _shape(said: Mapping[str, Any]) -> tuple[int | None, ...]:
    return tuple(_length(side) for side in said.get("shape", {}).get("dimensions", ()))


def _length(side: Any) -> int | None:
    number = int(side)
    return number if number >= 0 else None


def _why_unreadable(feature: Feature) -> str:
    """Say why a field of a timestep can be no field of an episode; "" if it can."""
    if feature.kind == "text" and feature.shape:
        return "a list of texts in every timestep"
    if feature.kind == "picture" and feature.sequences:
        return "a list of pictures in every timestep"
    if feature.kind == "picture" and feature.dtype.kind not in "iu":
        return f"pictures of {feature.dtype}, which TFDS packs into the channels of a PNG"
    if feature.kind == "numbers" and feature.dtype.kind not in "fiub":
        return f"numbers of the dtype {feature.dtype}"
    if 0 in feature.shape:
        return "an array without elements"
    return ""
