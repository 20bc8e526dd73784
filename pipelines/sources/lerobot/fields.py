"""The fields of a LeRobot dataset: its features, and the slices of them that GR00T's meta/modality.json names."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_tokenize.array_spaces import Box, PictureFiles, Text
from gato_tokenize.spec import join_path
from pipelines.sources.errors import SourceError
from pipelines.sources.lerobot.info import Feature
from pipelines.sources.step_fields import StepFields

TASK = "task"  # the field of the instruction: tasks are numbered in the rows, and named in meta/tasks
COUNTERS = ("timestamp", "frame_index", "episode_index", "index", "task_index")
ENDS = ("next.reward", "next.done", "next.success", "next.truncated")
Range = tuple[NDArray[Any], NDArray[Any]]  # the lowest and the highest value of each element


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a field's values lie: a column, or a video of that name. part: of a vector, the elements [start, stop).
    named: its numbers are those of tasks."""

    column: str
    feature: Feature
    part: tuple[int, int] | None = None
    named: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return self.feature.shape if self.part is None else (self.part[1] - self.part[0],)

    @property
    def is_video(self) -> bool:
        return self.feature.dtype == "video"


@dataclasses.dataclass(frozen=True)
class Fields:
    """The fields for `StepReading`, and {path: where its values lie}."""

    steps: StepFields
    places: Mapping[str, Place]


def fields_of(
    features: Mapping[str, Feature], modality: Mapping[str, Any], seen: Mapping[str, Range], has_tasks: bool
) -> Fields:
    """Describe the features. `observation.images.eye` has the path observation/images/eye.

    modality: the content of meta/modality.json, {} without it. seen: {feature: the range of its values}. Raises
    SourceError if modality.json names what is not there.
    """
    places = {_path(name, features): Place(name, feature) for name, feature in features.items() if _is_field(name)}
    places |= _slices(features, modality)
    divided = {place.column for place in places.values() if place.part}
    spaces: dict[str, Any] = {}
    unreadable: dict[str, str] = {}
    for path, place in places.items():
        if place.column in divided and place.part is None:
            unreadable[path] = "meta/modality.json divides it"
            continue
        space = Text() if place.named else _space(place, seen.get(place.column))
        if isinstance(space, str):
            unreadable[path] = space
        else:
            spaces[path] = space
    if has_tasks:
        spaces[TASK] = Text()
    return Fields(StepFields(spaces, TASK if has_tasks else "", unreadable=unreadable), places)


def _is_field(name: str) -> bool:
    return name not in COUNTERS and name not in ENDS


def _path(name: str, features: Mapping[str, Feature]) -> str:
    """Group the parts of a name, as far as no other feature has the name of the group."""
    parts = name.split(".", 2 if name.startswith("observation.images.") else 1)
    groups = [".".join(parts[:count]) for count in range(1, len(parts))]
    if parts[0] not in ("observation", "action") or any(group in features for group in groups):
        return join_path("", name)[1:]
    return functools.reduce(join_path, parts[1:], parts[0])


def _slices(features: Mapping[str, Feature], modality: Mapping[str, Any]) -> dict[str, Place]:
    """The fields that modality.json names: parts of the state and the action, and annotations by numbers of tasks."""
    places: dict[str, Place] = {}
    for group, column, root in (("state", "observation.state", "observation/state"), ("action", "action", "action")):
        for name, said in _members(modality, group).items():
            source = said.get("original_key") or column
            place = _place(features, source, f"{group}/{name}")
            start, stop = said.get("start", 0), said.get("end", place.feature.shape[0] if place.feature.shape else 0)
            whole = len(place.feature.shape) == 1 and type(start) is int and type(stop) is int
            if not whole or not 0 <= start < stop <= place.feature.shape[0]:
                raise SourceError(
                    f"meta/modality.json: {group}/{name} is {start!r} to {stop!r} of {source}, whose shape is"
                    f" {list(place.feature.shape)}"
                )
            places[join_path(root, name)] = dataclasses.replace(place, part=(start, stop))
    for name, said in _members(modality, "annotation").items():
        source = said.get("original_key") or f"annotation.{name}"
        if source in features:  # by default GR00T's own files list annotations that a dataset may lack
            place = _place(features, source, f"annotation/{name}")
            named = np.dtype(place.feature.dtype).kind in "iu" if place.feature.dtype != "string" else False
            places[join_path("annotation", name)] = dataclasses.replace(place, named=named)
    return places


def _members(modality: Mapping[str, Any], group: str) -> dict[str, dict[str, Any]]:
    found = modality.get(group) or {}
    if not isinstance(found, dict) or not all(isinstance(said, dict) for said in found.values()):
        raise SourceError(f"meta/modality.json: {group} must be an object of objects")
    return found


def _place(features: Mapping[str, Feature], column: Any, where: str) -> Place:
    if column not in features:
        raise SourceError(
            f"meta/modality.json: {where} is part of {column!r}, and the features are {', '.join(features)}"
        )
    return Place(str(column), features[column])


def _space(place: Place, seen: Range | None) -> Any:
    """The space of a field, or a str that says why it can be none."""
    feature = place.feature
    if feature.is_depth:
        return "a depth map as video, whose scale is not stated"
    if feature.dtype in ("video", "image"):
        shape = (*feature.shape[1:], feature.shape[0]) if feature.channels_first else feature.shape
        if len(shape) != 3 or shape[2] not in (1, 3, 4) or min(shape) < 1:
            return f"pictures of shape {list(feature.shape)}"
        return PictureFiles(shape)
    if feature.dtype == "string":
        return Text()
    try:
        dtype = np.dtype(feature.dtype)
    except TypeError:
        return f"values of dtype {feature.dtype}"
    if dtype.kind not in "fiub" or any(side < 1 for side in feature.shape):
        return f"{feature.dtype}{list(feature.shape)}"
    if seen is not None and seen[0].shape == feature.shape and dtype.kind != "b":
        low, high = (bound if place.part is None else bound[slice(*place.part)] for bound in seen)
        return Box(place.shape, dtype, seen=(low, high))
    return Box(place.shape, dtype)
