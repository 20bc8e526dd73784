"""The values of a message: what ROS, Protobuf and JSON nest, as arrays, texts and pictures with names."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.sources.recordings.pictures import picture_of
from pipelines.sources.recordings.recording import UnfitError

Names = tuple[str, ...]
# Members that say when or where a message was made.
APART = {"header", "stamp", "timestamp", "frame_id", "child_frame_id", "layout", "structure_needs_at_least_one_member"}
TIMES = ({"sec", "nanosec"}, {"secs", "nsecs"}, {"sec", "nsec"}, {"seconds", "nanos"})
CLOUD = {"point_stride", "point_step"}  # members of a point cloud
DEEPEST = 32  # messages within messages


@dataclasses.dataclass(frozen=True)
class Unfit:
    """A part of a message that no field can be made of."""

    why: str


def values_of(message: Any) -> dict[Names, Any]:
    """Return {names of nested members: value}: a number or an array as an array, a text, a `Picture`, or `Unfit`.

    A message of floats alone, as deep as they may lie, is one vector: a Twist has 6 numbers, a Pose 7. A message of one
    member stands for it. The names of joints are a tuple of texts. Raises ValueError for a picture that is damaged.

    >>> pose = {"position": {"x": 1.0, "y": 2.0}, "orientation": {"w": 0.5}}
    >>> values_of({"header": {"frame_id": "map"}, "pose": pose})
    {(): array([1. , 2. , 0.5])}
    >>> values_of({"pose": pose, "open": True, "label": "cup", "names": ["a", "b"]})
    {('pose',): array([1. , 2. , 0.5]), ('open',): array(True), ('label',): 'cup', ('names',): ('a', 'b')}
    """
    found: dict[Names, Any] = {}
    _collect(message, (), found)
    return found


def _collect(value: Any, names: Names, found: dict[Names, Any]) -> None:
    if len(names) > DEEPEST:
        found[names] = Unfit("it nests too deeply")
        return
    content = _members(value)
    if content is None:
        found[names] = _value(value)
        return
    try:
        picture = picture_of(content)
    except UnfitError as error:
        found[names] = Unfit(str(error))
        return
    if picture is not None:
        found[names] = picture
        return
    if content.keys() & CLOUD:
        found[names] = Unfit("a point cloud")
        return
    if content.keys() in TIMES:
        found[names] = Unfit("a time")
        return
    left = {name: one for name, one in content.items() if name not in APART}
    numbers = _floats(left)
    if numbers:
        found[names] = np.array(numbers)
    elif len(left) == 1:
        _collect(next(iter(left.values())), names, found)
    else:
        for name, one in left.items():
            _collect(one, (*names, name), found)


def _members(value: Any) -> Mapping[str, Any] | None:
    """The members of a message, of one level; None of what is none."""
    if isinstance(value, dict):
        return value
    if dataclasses.is_dataclass(value):
        kind: Any = type(value)
        return {name: getattr(value, name) for name in _field_names(kind)}
    if (described := getattr(value, "DESCRIPTOR", None)) is None:
        return None
    return {
        one.name: None if one.has_presence and not value.HasField(one.name) else getattr(value, one.name)
        for one in described.fields
    }


@functools.lru_cache(maxsize=1024)
def _field_names(kind: Any) -> tuple[str, ...]:
    """The fields of a ROS message; `rosbags` also makes attributes of a message of the constants of its type."""
    return tuple(name for name, hint in kind.__annotations__.items() if not str(hint).startswith("ClassVar"))


def _floats(value: Any, depth: int = 0) -> list[float] | None:
    """The numbers of a message, if it has nothing but floats; None otherwise."""
    if isinstance(value, float):
        return [value]
    content = _members(value)
    if content is None or depth > DEEPEST or content.keys() in TIMES:
        return None
    found: list[float] = []
    for name, one in content.items():
        if name not in APART:
            numbers = _floats(one, depth + 1)
            if numbers is None:
                return None
            found += numbers
    return found


def _value(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float | np.generic):
        return np.asarray(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return value if value.size else Unfit("it is empty")
    if value is None:
        return Unfit("it is not set")
    if isinstance(value, bytes | bytearray):
        return Unfit("bytes, whose meaning is not stated")
    if isinstance(value, Sequence) or hasattr(value, "__iter__"):
        return _listed(list(value))
    return Unfit(f"a {type(value).__name__}")


def _listed(values: list[Any]) -> Any:
    if not values:
        return Unfit("it is empty")
    if all(isinstance(one, str) for one in values):
        return tuple(values)
    if all(isinstance(one, bool | int | float) for one in values):
        return np.array(values)
    rows = [_floats(one) if not isinstance(one, list) else _row(one) for one in values]
    if any(row is None for row in rows) or len({len(row or ()) for row in rows}) != 1:
        return Unfit("a list of messages that are no rows of numbers of one length")
    return np.array(rows)


def _row(values: list[Any]) -> list[float] | None:
    return values if all(isinstance(one, int | float) for one in values) else None
