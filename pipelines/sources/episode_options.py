"""The options of every source of recorded episodes: which fields and splits are read, and what the action is."""

import dataclasses
import hashlib
import math
import re
from collections.abc import Sequence

from pipelines.sources.errors import SourceError
from pipelines.sources.field_options import FieldOptions
from pipelines.sources.options import option, written
from pipelines.sources.ranges import Numbers, parse_ranges

MOST_SHOWN = 60  # characters of `ranges` in the name of a task
OUR_NAMES = {"val": "validation", "valid": "validation"}  # {a source's split: how it is called here}


@dataclasses.dataclass(frozen=True)
class EpisodeOptions(FieldOptions):
    fields: str = option(
        "",
        "`PATH,PATH` keeps these alone in the observation, `-PATH` leaves one out; a path may be that of a group, and"
        " may hold `*`",
    )
    action: str = option("", "`PATH,PATH`, the fields that are the action, instead of those that the format names")
    instruction: str = option(
        "", "the field that holds the instruction, instead of the one that the format names; `none` leaves it out"
    )
    task: str = option("", "name of the task, instead of the one made from the source's name and these options")
    max_steps: int = option(0, "keep the first timesteps of an episode, so many at most; 0 keeps all")
    splits: str = option(
        "", "`SPLIT,SPLIT` reads these splits of the source alone, `SPLIT:NAME` also calls one NAME in the dataset"
    )
    ranges: str = option(
        "",
        "`PATH:LOW..HIGH,PATH:LOW..HIGH`, the least and the largest value of an action or a discrete field, instead of"
        " those that were inferred; with a number for each element, `action:-1/-2..1/2`",
    )
    unpredicted: str = option("", "`PATH,PATH`, texts of the observation that are not in the loss")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("max_steps", self.max_steps >= 0, "at least 0")
        for name in ("fields", "action", "splits", "unpredicted"):
            chosen = listed(getattr(self, name))
            self.require(name, all(chosen) and len(set(chosen)) == len(chosen), "a list without gaps or doubles")
        _ = self._split_names, self.bounds

    @property
    def suffix(self) -> str:
        """The end of a task's name: what was chosen changes the spec. It is empty if nothing was chosen."""
        return (
            self._named("fields", "action", "instruction") + self.chosen.suffix + self._named("ranges", "unpredicted")
        )

    def _named(self, *names: str) -> str:
        """The options of these names that were chosen; of a long one, the beginning of its sha256."""
        chosen = {name: getattr(self, name) for name in names if getattr(self, name)}
        for name in {"ranges"} & set(chosen):
            if len(chosen[name]) > MOST_SHOWN:
                chosen[name] = hashlib.sha256(chosen[name].encode()).hexdigest()[:8]
        return "".join(f"/{name}={value}" for name, value in chosen.items())

    @property
    def bounds(self) -> dict[str, tuple[Numbers, Numbers]]:
        """{path in the spec: (least values, largest values)} of `ranges`."""
        return parse_ranges(self.ranges)

    def task_of(self, name: str) -> str:
        """The name of a task that the source calls `name`."""
        return self.task or name + self.suffix

    def splits_of(self, found: Sequence[str]) -> dict[str, str]:
        """Return {split of the source: its name in the dataset} of the splits to read, in the order of `found`.

        Raises SourceError naming the splits that the source has if another was asked for.
        """
        if unknown := sorted(set(self._split_names) - set(found)):
            raise SourceError(f"option splits={self.splits}: no split {', '.join(unknown)}; splits: {', '.join(found)}")
        wanted = self._split_names or {name: OUR_NAMES.get(name, name) for name in found}
        return {name: checked_split(wanted[name]) for name in found if name in wanted}

    @property
    def _split_names(self) -> dict[str, str]:
        pairs = [split.partition(":") for split in listed(self.splits)]
        self.require("splits", len({name for name, _, _ in pairs}) == len(pairs), "a list without doubles")
        return {name: checked_split(ours if colon else OUR_NAMES.get(name, name)) for name, colon, ours in pairs}


@dataclasses.dataclass(frozen=True)
class RatedOptions(EpisodeOptions):
    """The options of a format that knows how many timesteps a second has."""

    fps: float = option(
        0.0,
        "keep so many timesteps a second, of which the recorded rate is a multiple: the first of each group, with its"
        " action; 0 keeps all",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("fps", 0 <= self.fps < math.inf, "a number of timesteps a second, or 0")

    @property
    def suffix(self) -> str:
        return super().suffix + (f"/fps={written(self.fps)}" if self.fps else "")

    def stride_of(self, rate: float) -> int:
        """Return k if every k-th timestep of `rate` a second is kept. Raises SourceError if k is no whole number."""
        if not self.fps:
            return 1
        stride = round(rate / self.fps)
        if stride < 1 or not math.isclose(stride * self.fps, rate, rel_tol=1e-6):
            fitting = ", ".join(written(rate / k) for k in range(1, 6))
            raise SourceError(
                f"option fps={written(self.fps)}: {written(rate)} timesteps a second were recorded, so it is one of"
                f" {fitting}, ..."
            )
        return stride


def listed(text: str) -> list[str]:
    """The members of a list that is separated by commas.

    >>> listed("observation/state,-observation/eye"), listed("")
    (['observation/state', '-observation/eye'], [])
    """
    return text.split(",") if text else []


def checked_split(name: str) -> str:
    """Return a split's name if files and TFDS can have it; SourceError otherwise."""
    if not re.fullmatch(r"[A-Za-z0-9_]+", name):
        raise SourceError(
            f"a split's name is letters, digits and _, not {name!r}: call it otherwise by the option splits=SPLIT:NAME"
        )
    return name
