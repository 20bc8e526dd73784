"""TopicFields: what the first recordings show of their topics: which fields they hold, and the range of each."""

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gato_tokenize.array_spaces import Box, PictureFiles, Text
from gato_tokenize.spec import join_path
from pipelines.sources.errors import SourceError
from pipelines.sources.recordings.messages import Names, Unfit, values_of
from pipelines.sources.recordings.pictures import Picture
from pipelines.sources.recordings.recording import Message, Recording, named
from pipelines.sources.step_fields import StepFields, many_numbers

WINDOWS = 16  # places of a recording, evenly spaced, at which messages are looked at
LOOK_MESSAGES = 256  # at each of these places
LOOK_BYTES = 4 * 2**20  # of messages at each of these places
INSTRUCTIONS = ("language_instruction", "instruction", "language", "task_description")
ACTIONS = {"action", "actions"}
BOOKKEEPING = {  # types of messages that describe the recording or its robot, not a timestep
    **dict.fromkeys(("Log", "DiagnosticArray", "ParameterEvent"), "it reports what programs do"),
    **dict.fromkeys(("TFMessage", "FrameTransform", "FrameTransforms"), "it places frames of coordinates"),
    **dict.fromkeys(("CameraInfo", "CameraCalibration"), "it describes a camera"),
}
COMPRESSED = "/compressed"  # image_transport adds it to the name of a topic of pictures


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the values of a field are: in the messages of a topic, below these names. names is None for a text of the
    whole recording, whose path is then `topic`."""

    topic: str
    names: Names | None


@dataclasses.dataclass(frozen=True, eq=False)
class TopicFields:
    """places: {path of a field: where its values are}. spaces, unreadable, apart: see `StepFields`. joints: {topic: the
    names of its joints, in their order}. seconds: the length of the first recording, and `rates`: {topic: messages a
    second there}."""

    places: Mapping[str, Place]
    spaces: Mapping[str, Any]
    unreadable: Mapping[str, str]
    apart: Mapping[str, str]
    joints: Mapping[str, tuple[str, ...]]
    rates: Mapping[str, float]
    seconds: float

    @functools.cached_property
    def paths(self) -> dict[str, list[str]]:
        """{topic: the paths of its fields, or of what no field can be made of if it has no other}."""
        found: dict[str, list[str]] = {}
        for path, place in self.places.items():
            if place.names is not None:
                found.setdefault(place.topic, []).append(path)
        return {topic: [path for path in paths if path in self.spaces] or paths for topic, paths in found.items()}

    @property
    def step_fields(self) -> StepFields:
        texts = [path for path, space in self.spaces.items() if isinstance(space, Text)]
        apart = {path: f"a text; instruction={path} makes it the instruction" for path in texts}
        apart |= many_numbers(self.spaces) | dict(self.apart)
        instruction = next((p for name in INSTRUCTIONS for p in texts if p.rpartition("/")[2] == name), "")
        return StepFields(self.spaces, instruction, apart, self.unreadable)


def read_fields(files: Sequence[str], opened: Callable[[str], Recording], look: int) -> TopicFields:
    """Look into the first recordings that can be read: at their indexes, and at a few messages of each topic.

    The first says which fields there are, all of them the range of each. Raises SourceError if none can be read.
    """
    found: list[tuple[Recording, dict[str, _Seen]]] = []
    fault: ValueError | None = None
    for path in files:
        try:
            with named(path), contextlib.closing(opened(path)) as recording:
                found.append((recording, _look(recording)))
        except ValueError as error:  # it becomes a reject
            fault = fault or error
        if len(found) == look:
            break
    if not found:
        raise SourceError(f"no recording can be read; {fault}") from fault
    first, topics = found[0]
    return _fields(first, topics, [others for _, others in found[1:]])


class _Seen:
    """What the messages of a topic that were looked at hold: the values of the first, and arrays of all."""

    def __init__(self) -> None:
        self.first: dict[Names, Any] | None = None
        self.why = ""
        self.arrays: dict[Names, list[Any]] = {}

    @property
    def is_enough(self) -> bool:
        """Whether another message would show nothing new."""
        return bool(self.why) or (self.first is not None and not self.arrays)

    def add(self, message: Message) -> None:
        try:
            values = values_of(message.decoded())
        except ValueError as error:
            self.why = self.why or str(error) if self.first is None else ""
            return
        if self.first is None:
            self.first = values
            self.arrays = {names: [] for names, one in values.items() if isinstance(one, np.ndarray) and one.ndim < 2}
        for names, kept in self.arrays.items():
            if isinstance(one := values.get(names), np.ndarray | Unfit):
                kept.append(one)


def _look(recording: Recording) -> dict[str, _Seen]:
    topics = {name: _Seen() for name, topic in recording.topics.items() if topic.count != 0}
    for window in range(WINDOWS):
        start = recording.start + (recording.end - recording.start) * window // WINDOWS
        left = LOOK_BYTES
        wanted = {name for name, seen in topics.items() if not seen.is_enough or window == 0}
        for message in itertools.islice(recording.messages(wanted, start), LOOK_MESSAGES) if wanted else ():
            if not topics[message.topic].is_enough:
                topics[message.topic].add(message)
            left -= len(message.data)
            if left < 0:
                break
    for name, seen in topics.items():
        if seen.first is None and not seen.why:
            for message in itertools.islice(recording.messages({name}), 1):
                seen.add(message)
    return topics


def _fields(recording: Recording, topics: Mapping[str, _Seen], others: Sequence[Mapping[str, _Seen]]) -> TopicFields:
    places: dict[str, Place] = {}
    spaces: dict[str, Any] = {}
    unreadable: dict[str, str] = {}
    apart: dict[str, str] = {}
    joints: dict[str, tuple[str, ...]] = {}
    for path in recording.texts:
        places[path], spaces[path] = Place(path, None), Text()
    for name, topic in recording.topics.items():
        seen, alone = topics.get(name), path_of(name)
        if seen is None or seen.first is None:
            places[alone] = Place(name, ())
            unreadable[alone] = (seen.why if seen else "") or "it has no messages"
            continue
        if not seen.first:
            places[alone], unreadable[alone] = Place(name, ()), "its messages hold no values"
        for names, value in seen.first.items():
            below = () if names or not _is_group(name, recording.topics) else ("data",)
            path = functools.reduce(join_path, (*names, *below), alone)
            places[path] = Place(name, names)
            space = _space(
                value, [one.arrays.get(names, []) for one in (seen, *(o[name] for o in others if name in o))]
            )
            if isinstance(space, Unfit):
                unreadable[path] = space.why
            else:
                spaces[path] = space
            if isinstance(value, tuple) and names == ("name",):
                joints[name] = value
            if why := _why_apart(name, topic.kind, recording.topics):
                apart[path] = why
    seconds = (recording.end - recording.start) / 1e9
    rates = {name: recording.rate(name) for name in recording.topics}
    return TopicFields(places, spaces, unreadable, apart, joints, rates, seconds)


def path_of(topic: str) -> str:
    """The path of a topic.

    >>> [path_of(topic) for topic in ("/camera/image_raw", "/arm/action", "/action")]
    ['observation/camera/image_raw', 'action/arm/action', 'action']
    """
    parts = [part for part in topic.split("/") if part] or ["unnamed"]
    root = "action" if ACTIONS & set(parts) else "observation"
    return functools.reduce(join_path, parts[1:] if parts[0] == root else parts, root)


def _is_group(topic: str, topics: Mapping[str, Any]) -> bool:
    """Whether other topics lie below one, so that its own path cannot be that of a field."""
    return any(other.startswith(topic + "/") for other in topics)


def _why_apart(topic: str, kind: str, topics: Mapping[str, Any]) -> str:
    if topic.endswith(COMPRESSED) and topic.removesuffix(COMPRESSED) in topics:
        return f"the same pictures as those of {topic.removesuffix(COMPRESSED)}"
    return BOOKKEEPING.get(kind.replace(".", "/").rpartition("/")[2], "")


def _space(value: Any, seen: Sequence[Sequence[Any]]) -> Any:
    """The space of a field by its first value, and the values of it that were seen; Unfit if it has none."""
    if isinstance(value, str):
        return Text()
    if isinstance(value, tuple):
        return Unfit("a list of texts")
    if isinstance(value, Picture):
        try:
            return PictureFiles((*value.size, 3))
        except ValueError as error:
            return Unfit(str(error))
    if not isinstance(value, np.ndarray):
        return value
    if value.ndim == 2:
        return Box(value.shape, value.dtype)
    if any(isinstance(one, Unfit) or one.shape != value.shape for one in itertools.chain(*seen)):
        return Unfit("the number of its values changes")
    same = [one for one in itertools.chain(*seen) if one.dtype == value.dtype]
    return Box.seen_in([np.stack(same)]) if same else Box(value.shape, value.dtype)
