"""StepReading: the arrays of a recorded episode to an `Episode`, by the spec that their description gives."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gato_tokenize import Episode, EpisodeMetadata, EpisodeSpec
from gato_tokenize.episode import FINAL_OBSERVATION
from gato_tokenize.field_spec import TextSpec
from gato_tokenize.spaces import SpaceReading, read_spaces
from gato_tokenize.spec import unflatten
from pipelines.sources.episode_options import EpisodeOptions, listed
from pipelines.sources.errors import SourceError
from pipelines.sources.ranges import respecified
from pipelines.sources.step_fields import INSTRUCTION, StepFields, choose_fields

BEYOND_MAX_STEPS = "timesteps beyond max_steps left out"
BETWEEN = "timesteps left out by fps"


class StepReading:
    """What the fields of a format were taken for: the spec, the reasons, and how an episode's arrays become it.

    places: {path in the spec: path in the format} of the fields to read. left_out: {path in the format: why}.

    >>> from gato_tokenize.array_spaces import Box, Text
    >>> spaces = {"observation/joints": Box((2,), np.dtype("f4")), "action": Box((), np.dtype(bool)), "goal": Text()}
    >>> reading = StepReading(StepFields(spaces, instruction="goal"), EpisodeOptions(max_steps=2))
    >>> print(reading.spec.describe())
    observation/instruction  text
    observation/joints       continuous, float32[2]
    action                   discrete, int[], size 2
    >>> arrays = {"observation/joints": np.ones((4, 2)), "action": np.array([True, False, True]), "goal": "lift"}
    >>> episode = reading.episode(arrays, EpisodeMetadata("a", "toy", "toy"), rewards=np.array([1.0, 2.0, 4.0]))
    >>> episode.num_steps, episode.metadata.instruction, episode.metadata.return_, episode.metadata.truncated
    (2, 'lift', 3.0, True)
    >>> episode.notes
    {'final observation left out': 1, 'timesteps beyond max_steps left out': 1}

    Raises SourceError if the options do not fit the fields, or a field needs a role.
    """

    def __init__(self, fields: StepFields, options: EpisodeOptions, stride: int = 1) -> None:
        """stride: every so many timesteps are kept, see `RatedOptions.stride_of`."""
        choice = choose_fields(fields, options)
        self.places, self.left_out = choice.places, choice.left_out
        self._max_steps, self._stride = options.max_steps, stride
        spaces = {name: fields.spaces[path] for name, path in self.places.items()}
        try:
            self._reading = _chosen(_read(spaces, options), options)
        except SourceError:
            raise
        except ValueError as error:
            raise SourceError(f"no spec can be made of the fields: {error}") from error

    @property
    def spec(self) -> EpisodeSpec:
        return self._reading.spec

    @property
    def reasons(self) -> Mapping[str, str]:
        """{path in the spec: why it has its type}."""
        return self._reading.reasons

    @property
    def notes(self) -> list[str]:
        """A line for each field that is left out, for `Source.notes`."""
        return [f"the field {path} is left out: {why}" for path, why in self.left_out.items()]

    def kept(self, steps: int) -> range:
        """The timesteps that are kept of an episode of so many; a source need not decode the others."""
        rows = range(0, steps, self._stride)
        return rows[: self._max_steps] if self._max_steps else rows

    def episode(
        self,
        arrays: Mapping[str, Any],
        metadata: EpisodeMetadata,
        rewards: Any = None,
        notes: Mapping[str, int] | None = None,
    ) -> Episode:
        """Make an episode of its arrays, {path in the format: values}, which may be more than `places` names.

        Values are an array[T, ...], or a list of T strings, bytes or picture files, or one string that holds in every
        timestep; anything with a length and slices will do. Observations may be T + 1: the last, which no action
        follows, is then left out. rewards: one a timestep, or None if they are unknown.

        `metadata` holds what is known of the whole episode; its return comes from the rewards, its instruction from the
        first timestep, and an episode that is cut by `max_steps` is truncated. Raises ValueError naming the path of
        what is missing, has another length, or does not fit.
        """
        counted = dict(notes or {})
        values = {name: _of(arrays, path, name) for name, path in self.places.items()}
        steps = self._steps(values, counted)
        rows = self.kept(steps)
        metadata = _cut(metadata, steps, rows, self._stride, counted)
        kept_rewards = _kept_rewards(rewards, steps, len(rows), self._stride)
        if kept_rewards is not None:
            metadata = dataclasses.replace(metadata, return_=float(kept_rewards.sum()))
        picked = {name: self._picked(name, value, rows) for name, value in values.items()}
        if INSTRUCTION in picked:
            metadata = dataclasses.replace(metadata, instruction=picked[INSTRUCTION][0])
        observation, action = (unflatten(picked, root) for root in ("observation", "action"))
        reading = self._reading
        observed, acted = reading.observation(observation), reading.action(action)
        return Episode(reading.spec, observed, acted, metadata, counted, kept_rewards)

    def _steps(self, values: Mapping[str, Any], counted: dict[str, int]) -> int:
        """Return the number of actions; counts a final observation."""
        lengths = {name: len(value) for name, value in values.items() if not isinstance(value, str)}
        actions = {name: length for name, length in lengths.items() if name.split("/")[0] == "action"}
        steps = next(iter(actions.values()))
        if not steps:
            raise ValueError(f"{next(iter(actions))}: the episode is empty: it has no timesteps")
        for name, length in lengths.items():
            if length != steps and (name in actions or length != steps + 1):
                path = next(iter(actions))
                raise ValueError(f"{name}: {length} values, but {path} has {steps}, one a timestep")
        if any(length == steps + 1 for length in lengths.values()):
            counted[FINAL_OBSERVATION] = 1
        return steps

    def _picked(self, name: str, values: Any, rows: range) -> Any:
        """The values of the timesteps that are kept."""
        if isinstance(values, str):
            return [values] * len(rows)
        picked = values[rows.start : rows.stop : rows.step] if len(rows) else values[:0]
        return _texts(picked, name) if isinstance(self._reading.spec.fields.get(name), TextSpec) else picked


def _read(spaces: Mapping[str, Any], options: EpisodeOptions) -> SpaceReading:
    return read_spaces(unflatten(spaces, "observation"), unflatten(spaces, "action"), options.chosen)


def _chosen(reading: SpaceReading, options: EpisodeOptions) -> SpaceReading:
    """Apply `ranges=` and `unpredicted=`."""
    if not options.ranges and not options.unpredicted:
        return reading
    spec = respecified(reading.spec, options.bounds, listed(options.unpredicted))
    reasons = {
        path: f"{why}; its range is chosen" if path in options.bounds else why for path, why in reading.reasons.items()
    }
    return dataclasses.replace(reading, spec=spec, reasons=reasons)


def _of(arrays: Mapping[str, Any], path: str, name: str) -> Any:
    if path not in arrays:
        raise ValueError(f"{path}: missing" + (f", which is {name}" if name != path else ""))
    return arrays[path]


def _cut(metadata: EpisodeMetadata, steps: int, rows: range, stride: int, counted: dict[str, int]) -> EpisodeMetadata:
    """Count the timesteps that are left out, and say in the metadata how the episode ends without them."""
    reached = min(steps, len(rows) * stride)  # timesteps of the recording that the kept ones stand for
    if reached < steps:
        counted[BEYOND_MAX_STEPS] = steps - reached
        metadata = dataclasses.replace(metadata, terminated=False, truncated=True)
    if reached > len(rows):
        counted[BETWEEN] = reached - len(rows)
    return metadata


def _kept_rewards(rewards: Any, steps: int, kept: int, stride: int) -> Any:
    """Return float64[kept]: the sums of the rewards of the timesteps that each kept one stands for, or None."""
    if rewards is None:
        return None
    numbers = np.asarray(rewards, np.float64)
    if numbers.shape != (steps,):
        raise ValueError(f"rewards: expected {steps}, one a timestep, got shape {list(numbers.shape)}")
    if not np.isfinite(numbers).all():
        raise ValueError(f"rewards: {numbers[~np.isfinite(numbers)][0]} is not finite")
    return np.add.reduceat(numbers[: kept * stride], np.arange(0, min(steps, kept * stride), stride))


def _texts(values: Sequence[Any], path: str) -> list[Any]:
    """Decode the texts that are bytes. Raises ValueError naming the one that is no UTF-8."""
    texts = []
    for i, value in enumerate(values):
        try:
            texts.append(
                value.decode() if isinstance(value, bytes) else str(value) if isinstance(value, str) else value
            )
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}[{i}]: not UTF-8: {error}") from error
    return texts
