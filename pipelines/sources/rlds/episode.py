"""RldsEpisodes: a record of an RLDS dataset to an `Episode`, and the fields that its first records show."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np

from gato_tokenize import Episode, EpisodeMetadata
from gato_tokenize.array_spaces import Box, Discrete, PictureFiles, Text
from gato_tokenize.storage.example import decode_example
from pipelines.sources.episode_options import EpisodeOptions
from pipelines.sources.errors import Filtered, SourceError
from pipelines.sources.options import option
from pipelines.sources.rlds.features import Feature, Features
from pipelines.sources.rlds.values import keys_of, number_of_steps, scalar_of, values_of
from pipelines.sources.step_fields import StepFields
from pipelines.sources.step_reading import StepReading

LOOK = 4  # records that are looked at for what features.json does not say
LAST_ACTION = "last step left out, whose action RLDS does not define"
EARLY = "{} set before the last step"
FLAGS = ("is_first", "is_last", "is_terminal", "reward", "discount")  # of a timestep, and no fields of an episode
# Where datasets keep the instruction, the first that is there: in a timestep, or beside the timesteps.
INSTRUCTIONS = ("language_instruction", "natural_language_instruction", "instruction")


@dataclasses.dataclass(frozen=True)
class RldsOptions(EpisodeOptions):
    last_step: Literal["drop", "keep"] = option(
        "drop", "`drop` leaves out the step where `is_last` is set, whose action RLDS does not define; `keep` keeps it"
    )


class RldsEpisodes:
    """Makes the episodes of a dataset. Its spec comes from features.json, and from `first_records`, the bytes of a few
    records, where that does not say a length or a range.

    Raises SourceError if the options do not fit the fields.
    """

    def __init__(self, features: Features, options: RldsOptions, first_records: Iterable[bytes]) -> None:
        self._features, self._drop = features, options.last_step == "drop"
        self._counter = _counter(features)
        looked = _looked(features, self._counter, first_records)
        self.reading = StepReading(_step_fields(features, looked), options)
        flags = [features.steps[name] for name in FLAGS if name in features.steps]
        read = [features.steps[path] for path in self.reading.places.values() if path in features.steps]
        self._wanted = frozenset(
            key for feature in (self._counter, *flags, *read, *features.episode.values()) for key in keys_of(feature)
        )

    def episode(self, data: bytes, metadata: EpisodeMetadata) -> Episode:
        """Make the episode of a record. Raises ValueError if the record does not fit the description of the dataset,
        and Filtered if it has no step with an action."""
        example = decode_example(data, self._wanted)
        steps = number_of_steps(self._counter, example)
        flags = {name: self._flag(name, example, steps) for name in FLAGS}
        ends = flags["is_last"] is not None and steps > 0 and bool(flags["is_last"][-1])
        actions = steps - (ends and self._drop)
        if not actions:
            raise Filtered("it has no step with an action")
        arrays = self._arrays(example, steps, actions)
        notes = _notes(flags, ends and self._drop)
        terminated = flags["is_terminal"] is not None and bool(flags["is_terminal"][-1])
        metadata = dataclasses.replace(
            metadata, terminated=terminated, truncated=ends and not terminated, success=self._success(example)
        )
        rewards = flags["reward"]
        return self.reading.episode(arrays, metadata, None if rewards is None else rewards[:actions], notes)

    def _arrays(self, example: Mapping[str, Any], steps: int, actions: int) -> dict[str, Any]:
        arrays: dict[str, Any] = {}
        for path in self.reading.places.values():
            if path in self._features.steps:
                arrays[path] = values_of(self._features.steps[path], example, steps)[:actions]
            else:
                text = scalar_of(self._features.episode[path], example)
                if not isinstance(text, bytes):
                    raise ValueError(f"{path}: missing in the record")
                arrays[path] = [text] * actions
        return arrays

    def _flag(self, name: str, example: Mapping[str, Any], steps: int) -> Any:
        """The values of a flag or reward; None if the dataset has no such field with one number a timestep."""
        feature = self._features.steps.get(name)
        if feature is None or feature.kind != "numbers" or feature.shape:
            return None
        return values_of(feature, example, steps)

    def _success(self, example: Mapping[str, Any]) -> int:
        for path in ("episode_metadata/success", "success"):
            feature = self._features.episode.get(path)
            if feature and feature.kind == "numbers" and (value := scalar_of(feature, example)) is not None:
                return int(value > 0)
        return -1


def _counter(features: Features) -> Feature:
    """The field that tells how many timesteps a record has."""
    for feature in features.steps.values():
        if not feature.sequences and feature.encoding == "none" and None not in feature.shape:
            return feature
        if feature.kind == "picture" and not feature.sequences:
            return feature
    raise SourceError("no field has one value in every timestep, so their number is unknown")


def _looked(features: Features, counter: Feature, records: Iterable[bytes]) -> dict[str, list[Any]]:
    """{path: its arrays in the first records}, without those that cannot be read: they become rejects."""
    found: dict[str, list[Any]] = {path: [] for path in features.steps}
    for data in itertools.islice(records, LOOK):
        try:
            example = decode_example(data)
            steps = number_of_steps(counter, example)
        except ValueError:
            continue
        for path, feature in features.steps.items():
            if feature.kind == "numbers" and path not in FLAGS and steps:
                try:
                    found[path].append(values_of(feature, example, steps))
                except ValueError as error:
                    found[path].append(error)
    return found


def _step_fields(features: Features, looked: Mapping[str, list[Any]]) -> StepFields:
    """The fields of a timestep, and the texts of an episode, one of which may be the instruction."""
    spaces: dict[str, Any] = {}
    apart: dict[str, str] = {}
    unreadable = dict(features.unreadable)
    for path, feature in features.steps.items():
        space = _space(feature, looked.get(path, []))
        if isinstance(space, str):
            unreadable[path] = space
        elif path not in FLAGS:
            spaces[path] = space
        if feature.kind == "picture" and feature.dtype != np.uint8:
            apart[path] = f"pictures of {feature.dtype}, of which only the upper 8 bits would be kept"
    texts = [path for path, feature in features.episode.items() if feature.kind == "text" and path not in spaces]
    spaces |= {path: Text() for path in texts}
    return StepFields(spaces, _instruction(spaces), apart, unreadable)


def _space(feature: Feature, looked: list[Any]) -> Any:
    """The space of a field of a timestep, or why there is none."""
    if feature.kind == "text":
        return Text()
    if feature.kind == "picture":
        return PictureFiles(None if None in feature.shape else feature.shape)  # type: ignore[arg-type]
    arrays = [one for one in looked if not isinstance(one, ValueError)]
    shape = tuple(side for side in feature.shape if side is not None)
    if None in feature.shape:
        found = Counter(array.shape[1:] for array in arrays).most_common(1)
        if not found or 2 * found[0][1] <= len(looked):  # the few records that differ become rejects
            faults = [str(one) for one in looked if isinstance(one, ValueError)]
            return f"its length is not stated, and {faults[0] if faults else 'the first records differ'}"
        shape = found[0][0]
    arrays = [array for array in arrays if array.shape[1:] == shape]
    if feature.classes is not None and not shape:
        return Discrete(feature.classes)
    if 0 in shape:
        return "an array without elements"
    if feature.low is not None:
        low, high = (np.full(shape, bound, feature.dtype) for bound in (feature.low, feature.high))
        return Box(shape, feature.dtype, low, high)
    return Box.seen_in(arrays) if arrays else Box(shape, feature.dtype)


def _instruction(spaces: Mapping[str, Any]) -> str:
    """The path of the field that holds the instruction; "" if none has a name that says so."""
    places = ("", "observation/", "task/", "episode_metadata/")
    names = [place + name for place in places for name in INSTRUCTIONS]
    return next((name for name in names if isinstance(spaces.get(name), Text)), "")


def _notes(flags: Mapping[str, Any], dropped: bool) -> dict[str, int]:
    notes = {LAST_ACTION: 1} if dropped else {}
    for name in ("is_last", "is_terminal"):
        early = 0 if flags[name] is None else int(np.count_nonzero(flags[name][:-1]))
        if early:
            notes[EARLY.format(name)] = early
    return notes
