"""Rules: which split of the new dataset an episode goes to, or why it is left out."""

import dataclasses
import hashlib
import math
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from pipelines.conversion.plan import PlanError


class Listed(NamedTuple):
    """An episode as the episode list has it: the lines of its records, and its split."""

    lines: list[dict[str, Any]]
    split: str

    @property
    def id(self) -> str:
        return str(self.lines[0]["episode_id"])

    @property
    def task(self) -> str:
        return str(self.lines[0]["task"])

    @property
    def steps(self) -> int:
        return sum(line["steps"] for line in self.lines)


class Rule(Protocol):
    """What decides about each episode, by its line in the list alone."""

    name: str  # the command

    def place(self, episode: Listed) -> tuple[str, str]:
        """Return (the split it goes to, ""), or ("", why it is left out)."""

    def to_json(self) -> dict[str, Any]:
        """Return what was asked for, as the manifest records it."""


@dataclasses.dataclass(frozen=True)
class Merge:
    """Every episode, in the split that it has."""

    name = "merge"

    def place(self, episode: Listed) -> tuple[str, str]:
        return episode.split, ""

    def to_json(self) -> dict[str, Any]:
        return {}


@dataclasses.dataclass(frozen=True)
class Filter:
    """The episodes that meet every condition that is given, each in the split that it has.

    An episode whose return or success is unknown meets no condition on it. steps: timesteps. Raises PlanError if no
    condition is given, or one makes no sense.
    """

    name = "filter"
    tasks: tuple[str, ...] = ()
    ids: frozenset[str] | None = None
    success: bool | None = None
    min_return: float | None = None
    max_return: float | None = None
    min_steps: int | None = None
    max_steps: int | None = None

    def __post_init__(self) -> None:
        if not self.to_json():
            raise PlanError("a filter needs a condition: a task, ids, success, or bounds of the return or the length")
        for low, high, what in (
            (self.min_return, self.max_return, "return"),
            (self.min_steps, self.max_steps, "length"),
        ):
            if any(bound is not None and math.isnan(bound) for bound in (low, high)):
                raise PlanError(f"a bound of the {what} must be a number, not NaN")
            if low is not None and high is not None and low > high:
                raise PlanError(f"no {what} is at least {low} and at most {high}")

    def place(self, episode: Listed) -> tuple[str, str]:
        why = next(self._reasons(episode), "")
        return ("", why) if why else (episode.split, "")

    def _reasons(self, episode: Listed) -> Iterator[str]:
        line, steps = episode.lines[0], episode.steps
        if self.tasks and episode.task not in self.tasks:
            yield "another task"
        if self.ids is not None and episode.id not in self.ids:
            yield "an id that is not listed"
        if self.success is not None and line["success"] != self.success:
            yield "its success is unknown" if line["success"] == -1 else "another success"
        if (self.min_return, self.max_return) != (None, None):
            yield from _outside(line["return"], self.min_return, self.max_return, "return")
        yield from _outside(steps, self.min_steps, self.max_steps, "length")

    def to_json(self) -> dict[str, Any]:
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if self.ids is not None:  # as many as there may be episodes: their hash identifies them
            joined = "\n".join(sorted(self.ids)).encode()
            given["ids"] = {"count": len(self.ids), "sha256": hashlib.sha256(joined).hexdigest()}
        return {name: value for name, value in given.items() if value is not None and value != ()}


def _outside(value: float | None, low: float | None, high: float | None, what: str) -> Iterator[str]:
    if value is None:
        yield f"its {what} is unknown"
    elif low is not None and value < low:
        yield f"a {what} below {low}"
    elif high is not None and value > high:
        yield f"a {what} above {high}"


@dataclasses.dataclass(frozen=True)
class Split:
    """Every episode, in a split that depends on its id, the seed and the fractions alone, whatever split it had.

    An id is hashed to a number in [0, 1): validation is the beginning of this range, as with
    `gato-data convert --validation-fraction`, test is its end, train lies between them. So an episode keeps its split
    when the dataset grows, and a larger fraction moves episodes out of train alone. Raises PlanError for a fraction
    outside [0, 1), or two that leave nothing for train.
    """

    name = "split"
    validation: float = 0.0
    test: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, fraction in (("validation", self.validation), ("test", self.test)):
            if not 0 <= fraction < 1:
                raise PlanError(f"the {name} fraction is in [0, 1), not {fraction}")
        if not 0 < self.validation + self.test < 1:
            raise PlanError("give a validation fraction, a test fraction or both, which leave something for train")

    def place(self, episode: Listed) -> tuple[str, str]:
        digest = hashlib.sha256(f"{self.seed}:{episode.id}".encode()).digest()  # as `Plan.split_of`
        number = int.from_bytes(digest[:8], "big")
        if number < self.validation * 2**64:
            return "validation", ""
        return ("test" if number >= (1 - self.test) * 2**64 else "train"), ""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)
