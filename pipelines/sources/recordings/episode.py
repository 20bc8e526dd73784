"""EpisodeMaker: the messages of a recording to an `Episode`."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gato_tokenize import Episode, EpisodeMetadata
from gato_tokenize.array_spaces import PictureFiles, Text
from gato_tokenize.field_spec import ImageSpec
from pipelines.sources.formats.limits import check_field
from pipelines.sources.recordings.fields import Place, TopicFields
from pipelines.sources.recordings.messages import Unfit, values_of
from pipelines.sources.recordings.options import RecordingOptions
from pipelines.sources.recordings.pictures import Picture
from pipelines.sources.recordings.recording import Message, Recording
from pipelines.sources.recordings.ticks import SECOND, Tick, Ticks
from pipelines.sources.step_reading import StepReading
from pipelines.stats.lints import STALE_VALUES

LOSSY, RESIZED = "{}: image is from lossy JPEG", "{}: image resized while it was read"
WAITED = "messages of the action before each topic had one, left out"
JPEG = b"\xff\xd8"  # how such a file begins
STALE_STEPS = 2  # timesteps after which a message counts as old


class EpisodeMaker:
    """Makes episodes of recordings by the `reading` of their `fields`."""

    def __init__(self, fields: TopicFields, reading: StepReading, options: RecordingOptions) -> None:
        self._fields, self._reading, self._options = fields, reading, options
        self._places = {path: fields.places[path] for path in reading.places.values()}
        acted = [path for name, path in reading.places.items() if name.split("/")[0] == "action"]
        self._acted = frozenset(acted)
        self._clocks = list(dict.fromkeys(self._places[path].topic for path in acted))

    def episode(self, recording: Recording, metadata: EpisodeMetadata) -> Episode:
        """Make an episode. Raises ValueError naming the topic that is missing or damaged, or whose values are not like
        those of the first recordings."""
        topics = {place.topic for place in self._places.values() if place.names is not None}
        for topic in sorted(topics):
            if topic not in recording.topics:
                known = ", ".join(sorted(recording.topics)) or "none"
                raise ValueError(f"{topic}: there is no such topic; topics: {known}")
        counts = {topic: recording.topics[topic].count for topic in topics}
        ticks = Ticks(topics, self._clocks, self._options.fps, counts)
        columns = {
            path: _Column(path, place, self._convert(path), path in self._acted and self._options.action_at == "next")
            for path, place in self._places.items()
            if place.names is not None
        }
        times = self._read(ticks.of(recording.messages(topics)), columns)
        steps = len(times) - (self._options.action_at == "next")
        if steps < 1:
            raise ValueError("the recording has one timestep, and action_at=next needs a second")
        arrays: dict[str, Any] = {path: column.of(steps) for path, column in columns.items()}
        for path, place in self._places.items():
            if place.names is None:
                if place.topic not in recording.texts:
                    raise ValueError(f"{path}: the recording has no such metadata")
                arrays[path] = recording.texts[place.topic]
        return self._reading.episode(arrays, metadata, notes=self._notes(ticks, times, columns, steps))

    def _read(self, ticks: Iterator[Tick], columns: dict[str, "_Column"]) -> list[int]:
        """Fill the columns; return the times of the timesteps. What max_steps leaves out is not decoded."""
        times: list[int] = []
        opened: dict[str, tuple[Message, dict[Any, Any]]] = {}  # the message of each topic that was decoded last
        enough = self._options.max_steps + (self._options.action_at == "next")
        for tick in ticks:
            times.append(tick.time)
            if self._options.max_steps and len(times) > enough:
                continue
            for column in columns.values():
                message = tick.latest[column.place.topic]
                held = opened.get(message.topic)
                if held is None or held[0] is not message:
                    held = opened[message.topic] = message, self._values(message)
                column.add(message, held[1], tick.time)
                self._check_age(column, tick.time)
        return times

    def _values(self, message: Message) -> dict[Any, Any]:
        """The values of a message; those of joints in the order of the first recording."""
        try:
            values = values_of(message.decoded())
        except ValueError as error:
            raise ValueError(f"{message.topic} at {message.time} ns: {error}") from error
        joints, named = self._fields.joints.get(message.topic), values.get(("name",))
        if joints is None or named == joints:
            return values
        if not isinstance(named, tuple) or sorted(named) != sorted(joints):
            found = ", ".join(named) if isinstance(named, tuple) else "none"
            raise ValueError(
                f"{message.topic} at {message.time} ns: expected the joints {', '.join(joints)}, got {found}"
            )
        order = [named.index(joint) for joint in joints]
        is_row = {names: isinstance(one, np.ndarray) and one.shape == (len(order),) for names, one in values.items()}
        return {names: one[order] if is_row[names] else one for names, one in values.items()}

    def _convert(self, path: str) -> Callable[[Any], Any]:
        """What becomes of a value of a field."""
        space = self._fields.spaces[path]
        if isinstance(space, Text):
            return _text
        if not isinstance(space, PictureFiles):
            return lambda value: _number(value, space)
        assert space.shape is not None
        size, target = space.shape[:2], self._target(path)

        def picture(value: Any) -> Any:
            if not isinstance(value, Picture):
                raise ValueError(f"expected a picture, got {_kind(value)}")
            return value.shown((size[0], size[1]), target)

        return picture

    def _target(self, path: str) -> tuple[int, int]:
        """The size to which the pictures of a field are brought."""
        name = next(name for name, place in self._reading.places.items() if place == path)
        spec = self._reading.spec.fields[name]
        assert isinstance(spec, ImageSpec) and spec.resize is not None
        return spec.resize

    def _check_age(self, column: "_Column", time: int) -> None:
        most = self._options.max_age
        if most and column.ages[-1] > most * SECOND and not isinstance(self._fields.spaces[column.path], Text):
            raise ValueError(
                f"{column.place.topic}: its last message is {column.ages[-1] / SECOND:.3f} s old at {time} ns, and"
                f" max_age={most:g}"
            )

    def _notes(self, ticks: Ticks, times: list[int], columns: dict[str, "_Column"], steps: int) -> dict[str, int]:
        interval = SECOND / self._options.fps if self._options.fps else (times[-1] - times[0]) / max(1, len(times) - 1)
        kept = len(self._reading.kept(steps))
        notes = {WAITED: ticks.waited} if ticks.waited else {}
        stale = 0
        for path, column in columns.items():
            space = self._fields.spaces[path]
            if not isinstance(space, Text):
                stale += sum(age > STALE_STEPS * interval for age in column.ages[:kept])
            if isinstance(space, PictureFiles) and space.shape and space.shape[:2] != self._target(path):
                notes[RESIZED.format(path)] = kept
                if column.has_jpeg:
                    notes[LOSSY.format(path)] = kept
        return notes | ({STALE_VALUES: stale} if stale else {})


class _Column:
    """The values of a field, one a timestep. A value that is held over several timesteps is kept once."""

    def __init__(self, path: str, place: Place, convert: Callable[[Any], Any], is_next: bool) -> None:
        self.path, self.place, self._convert, self._is_next = path, place, convert, is_next
        self.ages: list[int] = []  # nanoseconds, of each timestep
        self.has_jpeg = False
        self._values: list[Any] = []
        self._last: Message | None = None
        self._bytes = 0

    def add(self, message: Message, values: dict[Any, Any], time: int) -> None:
        self.ages.append(time - message.time)
        if message is self._last:
            self._values.append(self._values[-1])
            return
        value = values.get(self.place.names, Unfit("it is missing"))
        self.has_jpeg |= isinstance(value, Picture) and value.file.startswith(JPEG)
        try:
            self._values.append(self._convert(value))
        except ValueError as error:
            raise ValueError(f"{self.path} at {message.time} ns: {error}") from error
        self._last = message
        one = self._values[-1]
        self._bytes += len(one) if isinstance(one, str | bytes) else one.nbytes
        check_field(self.path, f"{len(self._values)} values", self._bytes)

    def of(self, steps: int) -> "_Values":
        return _Values(self._values[1:] if self._is_next else self._values, steps)


class _Values:
    """The values of a field as `StepReading` takes them: as long as the episode, though those that max_steps leaves out
    were not read."""

    def __init__(self, values: list[Any], steps: int) -> None:
        self._values, self._steps = values, steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, rows: slice) -> Any:
        picked = self._values[rows]
        if picked and isinstance(picked[0], np.ndarray) and picked[0].ndim < 2:
            return np.stack(picked)
        return picked


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a text, got {_kind(value)}")
    return value


def _number(value: Any, space: Any) -> Any:
    if not isinstance(value, np.ndarray) or value.shape != space.shape or value.dtype != space.dtype:
        raise ValueError(f"expected {space.dtype}{list(space.shape)} as in the first recordings, got {_kind(value)}")
    return value


def _kind(value: Any) -> str:
    """Say what a value is instead of another."""
    if isinstance(value, Unfit):
        return f"none: {value.why}"
    return f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__
