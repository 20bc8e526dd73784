"""Episode: stacked timesteps, checked against a spec."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_tokenize.arrays import plain_array
from gato_tokenize.spec import EpisodeSpec, flatten, match_keys

# The values accepted for a field of each type. The type of a record's feature follows the field, not the value.
_ACCEPTED: dict[Any, Any] = {
    str: str,
    bool: (bool, np.bool_),
    int: (int, np.integer, np.bool_),
    float: (int, float, np.integer, np.floating),
}
_LARGEST = float(np.finfo(np.float32).max)
_ROUNDING = 1e-5  # of the sum of the absolute rewards: by float32, in which sources and records may add and store them


@dataclasses.dataclass(frozen=True)
class EpisodeMetadata:
    """The facts about an episode that are not in its tokens: the `episode_metadata/...` features of a record.

    The source fills the first group, the writer of the record the second.
    """

    episode_id: str = ""  # stable: the same episode has the same id in every conversion
    domain: str = ""
    task: str = ""
    agent_id: str = ""
    instruction: str = ""
    source_uri: str = ""
    source_index: int = 0
    return_: float = float("nan")  # undiscounted sum of rewards; NaN: unknown
    success: int = -1  # 1, 0, -1: unknown
    terminated: bool = False
    truncated: bool = False

    dataset: str = ""
    num_steps: int = 0  # of the whole episode
    segment_index: int = 0
    num_segments: int = 1
    step_offset: int = 0  # of the segment's first timestep in the episode
    content_hash: str = ""  # sha256 of the whole episode's tokens and pixels; "" if one record holds the episode

    def __post_init__(self) -> None:
        if tuple(map(type, vars(self).values())) != _types():  # seldom, and each record makes two of these
            self._convert()
        if self.success not in (-1, 0, 1):
            raise ValueError(f"success is 1, 0 or -1 (unknown), not {self.success!r}")

    def _convert(self) -> None:
        for name, kind in zip(vars(self), _types(), strict=True):
            value = getattr(self, name)
            if not isinstance(value, _ACCEPTED[kind]):
                raise ValueError(f"{name}: expected {kind.__name__}, got {type(value).__name__} {value!r}")
            object.__setattr__(self, name, kind(value))


@functools.cache
def _types() -> tuple[Any, ...]:
    """The type of each field of `EpisodeMetadata`, in order."""
    return tuple(field.type for field in dataclasses.fields(EpisodeMetadata))


@dataclasses.dataclass(frozen=True, eq=False)  # a comparison of arrays has no single truth value
class Episode:
    """T timesteps of a task with each field stacked along time: float[T, ...], int[T, ...], uint8[T, height, width, 3],
    T strings or T pictures. A document or a sample (a spec with `timesteps=False`) is an episode with T = 1.

    rewards: T finite numbers, kept as float32[T] or float64[T], one for the action of each timestep; None: unknown. The
    return in the metadata is filled in with their sum, unless it is given: then it must be their sum.

    Raises ValueError naming the path of a field that does not fit the spec (a missing or unknown key, another shape,
    dtype or length, a value that is not finite or out of range), and ValueError if there are no timesteps.

    >>> from gato_tokenize import DiscreteSpec, ContinuousSpec
    >>> spec = EpisodeSpec({"joint": ContinuousSpec(2)}, DiscreteSpec(4))
    >>> Episode(spec, {"joint": [[0.0, 1.0], [0.5, 2.0]]}, [3, 0]).num_steps
    2
    >>> Episode(spec, {"joint": [[0.0, 1.0], [0.5, 2.0]]}, [3, 4])
    Traceback (most recent call last):
    ValueError: action: 4 at index [1] is outside [0, 4)
    """

    spec: EpisodeSpec
    observation: Any
    action: Any = dataclasses.field(default_factory=dict)
    metadata: EpisodeMetadata = EpisodeMetadata()
    notes: Mapping[str, int] = dataclasses.field(default_factory=dict)  # what the source left out: {what: how often}
    rewards: Any = None
    fields: dict[str, Any] = dataclasses.field(init=False, repr=False)  # {path: stacked values}, in token order

    def __repr__(self) -> str:
        named = f" {self.metadata.episode_id!r}" if self.metadata.episode_id else ""
        return f"<Episode{named} of {self.num_steps} timesteps: {', '.join(self.spec.fields)}>"

    def __post_init__(self) -> None:
        for role in ("observation", "action"):
            match_keys(getattr(self.spec, role), getattr(self, role), role)
        specs = self.spec.fields
        flat = {**flatten(self.observation, "observation"), **flatten(self.action, "action")}
        steps = _length(flat, next(iter(specs)))
        if not self.spec.timesteps and steps != 1:
            raise ValueError(f"{next(iter(specs))}: a document or sample has one value a field, not {steps}")
        fields = {path: spec.validate(flat[path], path, steps) for path, spec in specs.items()}
        object.__setattr__(self, "fields", fields)
        if self.rewards is not None:
            self._take_rewards(steps)

    def _take_rewards(self, steps: int) -> None:
        if not self.spec.timesteps:
            raise ValueError("rewards: a document or sample has none")
        rewards = _checked_rewards(self.rewards, steps)
        object.__setattr__(self, "rewards", rewards)
        total, given = float(rewards.sum(dtype=np.float64)), self.metadata.return_
        if math.isnan(given):
            object.__setattr__(self, "metadata", dataclasses.replace(self.metadata, return_=total))
        elif abs(given - total) > _ROUNDING * float(np.abs(rewards).sum(dtype=np.float64)):
            raise ValueError(f"rewards: their sum is {total}, but the return in the metadata is {given}")

    @property
    def num_steps(self) -> int:
        return len(next(iter(self.fields.values())))


def _checked_rewards(rewards: Any, steps: int) -> NDArray[np.floating[Any]]:
    array = plain_array(rewards, name="reward")
    if array.dtype.kind not in "biuf" or array.shape != (steps,):
        found = f"{array.dtype} of shape {list(array.shape)}"
        raise ValueError(f"rewards: expected {steps} numbers, one a timestep, got {found}")
    array = array if array.dtype == np.float32 else array.astype(np.float64)
    wrong = ~(np.abs(array) <= _LARGEST)
    if wrong.any():
        at = int(np.argmax(wrong))
        why = "is not finite, or beyond float32, in which it is stored"
        raise ValueError(f"rewards: {array[at]} at index [{at}] {why}")
    return array


def _length(flat: dict[str, Any], path: str) -> int:
    value = flat[path]
    if isinstance(value, str | bytes) or not hasattr(value, "__len__") or getattr(value, "shape", None) == ():
        raise ValueError(f"{path}: expected one value a timestep, got {type(value).__name__}")
    if len(value) == 0:
        raise ValueError(f"{path}: the episode is empty: it has no timesteps")
    return len(value)
