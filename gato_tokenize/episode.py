"""Episode: stacked timesteps, checked against a spec."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_tokenize.arrays import plain_array
from gato_tokenize.notebook import timesteps_html
from gato_tokenize.output import counted
from gato_tokenize.spec import EpisodeSpec, flatten, match_keys, unflatten
from gato_tokenize.steps import stack_steps

# The values accepted for a field of each type. The type of a record's feature follows the field, not the value.
_ACCEPTED: dict[Any, Any] = {
    str: str,
    bool: (bool, np.bool_),
    int: (int, np.integer, np.bool_),
    float: (int, float, np.integer, np.floating),
}
_LARGEST = float(np.finfo(np.float32).max)
FINAL_OBSERVATION = "final observation left out"  # the note of an episode with T + 1 observations of T actions
_ROUNDING = 1e-5  # of the sum of the absolute rewards: by float32, in which sources and records may add and store them


@dataclasses.dataclass(frozen=True, eq=False)
class EpisodeMetadata:
    """The facts about an episode that are not in its tokens: the `episode_metadata/...` features of a record.

    The source fills the first group, the writer of the record the second. Unknown returns are equal.
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

    def __eq__(self, other: object) -> bool:
        return self._known() == other._known() if isinstance(other, EpisodeMetadata) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._known())

    def _known(self) -> tuple[Any, ...]:
        """The values, with None for an unknown return: NaN is not equal to itself."""
        return tuple(None if value != value else value for value in vars(self).values())

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
    """T timesteps of a task. A document or a sample (a spec with `timesteps=False`) is an episode with T = 1.

    observations, actions: a list with one for each timestep, as a loop over an environment makes it (a tuple in it has
        the keys that `tuple_to_dict` gives it), or the fields stacked along time: float[T, ...], int[T, ...],
        uint8[T, height, width, 3], T strings or T pictures. They are kept stacked. There may be T + 1 observations
        before and after T actions: no action follows the last one, which is left out and counted in `notes`.
    rewards: T finite numbers, kept as float32[T] or float64[T], one for the action of each timestep; None: unknown. The
    return in the metadata is filled in with their sum, unless it is given: then it must be their sum.

    Raises ValueError naming the path of a field that does not fit the spec (a missing or unknown key, another shape,
    dtype or length, a value that is not finite or out of range), and the index of its timestep if it is in a list; and
    ValueError if there are no timesteps.

    >>> from gato_tokenize import DiscreteSpec, ContinuousSpec
    >>> spec = EpisodeSpec({"joint": ContinuousSpec(2)}, DiscreteSpec(4))
    >>> seen = [{"joint": [0.0, 1.0]}, {"joint": [0.5, 2.0]}, {"joint": [1.0, 3.0]}]
    >>> episode = Episode(spec, observations=seen, actions=[3, 0], rewards=[0.0, 1.0])
    >>> episode.num_steps, episode.metadata.return_, episode.notes
    (2, 1.0, {'final observation left out': 1})
    >>> Episode(spec, {"joint": [[0.0, 1.0], [0.5, 2.0]]}, [3, 4])
    Traceback (most recent call last):
    ValueError: action: 4 at index [1] is outside [0, 4)
    """

    spec: EpisodeSpec
    observations: Any
    actions: Any = dataclasses.field(default_factory=dict)
    metadata: EpisodeMetadata = EpisodeMetadata()
    notes: Mapping[str, int] = dataclasses.field(default_factory=dict)  # what was left out: {what: how often}
    rewards: Any = None
    fields: dict[str, Any] = dataclasses.field(init=False, repr=False)  # {path: stacked values}, in token order

    def __repr__(self) -> str:
        named = f" {self.metadata.episode_id!r}" if self.metadata.episode_id else ""
        return f"<Episode{named} of {counted(self.num_steps, 'timestep')}: {', '.join(self.spec.fields)}>"

    def _repr_html_(self) -> str:
        """The first timesteps as a table with pictures, which notebooks show."""
        told = self.metadata
        facts = {
            "episode": told.episode_id,
            "task": told.task,
            "instruction": told.instruction,
            "return": "" if math.isnan(told.return_) else f"{told.return_:.4g}",
            "success": {1: "yes", 0: "no"}.get(told.success, ""),
        }
        return timesteps_html(facts, self.spec.fields, self.fields, self.rewards)

    def __post_init__(self) -> None:
        for role in ("observation", "action"):
            stacked = stack_steps(getattr(self.spec, role), getattr(self, f"{role}s"), role)
            match_keys(getattr(self.spec, role), stacked, role)
            object.__setattr__(self, f"{role}s", stacked)
        steps = self._number_of_steps()
        if not self.spec.timesteps and steps != 1:
            raise ValueError(f"{next(iter(self.spec.fields))}: a document or sample has one value a field, not {steps}")
        flat = {**flatten(self.observations, "observation"), **flatten(self.actions, "action")}
        fields = {path: spec.validate(flat[path], path, steps) for path, spec in self.spec.fields.items()}
        object.__setattr__(self, "fields", fields)
        if self.rewards is not None:
            self._take_rewards(steps)

    def _number_of_steps(self) -> int:
        """Return T. Leaves out an observation after the last action."""
        observed = {path: _length(value, path) for path, value in flatten(self.observations, "observation").items()}
        acted = {path: _length(value, path) for path, value in flatten(self.actions, "action").items()}
        steps = next(iter((acted or observed).values()))
        if acted and set(observed.values()) == {steps + 1}:
            values = {path: value[:steps] for path, value in flatten(self.observations, "observation").items()}
            object.__setattr__(self, "observations", unflatten(values, "observation"))
            object.__setattr__(self, "notes", {**self.notes, FINAL_OBSERVATION: 1})
        return steps

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


def _length(value: Any, path: str) -> int:
    if isinstance(value, str | bytes) or not hasattr(value, "__len__") or getattr(value, "shape", None) == ():
        raise ValueError(f"{path}: expected one value a timestep, got {type(value).__name__}")
    if len(value) == 0:
        raise ValueError(f"{path}: the episode is empty: it has no timesteps")
    return len(value)
