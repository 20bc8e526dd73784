"""Source: where episodes come from. One module a source (`read_*.py`), one line in `SOURCES`, one contract test."""

import abc
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from gato_tokenize import Episode, EpisodeSpec


class SourceError(ValueError):
    """A source that cannot be planned at all: a missing file, an unknown option, an uninstalled package."""


class Filtered(Exception):
    """Raised by `Candidate.load` for what is no episode by rule (a blank line): counted by reason, not a reject."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """An episode not yet read: it is named before anything can go wrong with it."""

    episode_id: str  # stable and unique in its source
    source_uri: str  # what a person would open to look: file, archive member, environment
    source_index: int  # line, member or episode number in it
    load: Callable[[], Episode]


@dataclasses.dataclass(frozen=True)
class Reject:
    """A dead letter: one episode that could not be converted, and why."""

    source: str
    source_uri: str
    source_index: int
    episode_id: str
    stage: str  # "read" or "tokenize"
    exception: str
    message: str

    @classmethod
    def of(cls, source: str, candidate: "Candidate", stage: str, error: BaseException) -> "Reject":
        place = (candidate.source_uri, candidate.source_index, candidate.episode_id)
        return cls(source, *place, stage, type(error).__name__, str(error))

    @property
    def reason(self) -> str:
        """What rejects are counted by: "read: ValueError"."""
        return f"{self.stage}: {self.exception}"


class Source(abc.ABC):
    """A named source and its argument, opened from a string such as `text:docs/*.txt?by=line`.

    A subclass is constructed from (argument, options), reads nothing then, and is cheap to construct again in a worker.
    It refuses unknown options and bad values by a SourceError that names the legal ones.
    """

    Options: type[Any]  # a `SourceOptions`, from which comes the table in docs/sources.md
    source: str  # the string it was opened from; set by `open_source`

    @abc.abstractmethod
    def __init__(self, argument: str, options: dict[str, str]) -> None: ...

    @abc.abstractmethod
    def inputs(self) -> list[dict[str, Any]]:
        """What the episodes depend on, as JSON, in byte order: {"uri", "bytes", "sha256"} for a file, {"uri",
        "versions"} for an environment. Part of the plan: another input is another plan."""

    @abc.abstractmethod
    def specs(self) -> dict[str, EpisodeSpec]:
        """{task: its spec}. A task's name is unique in the world ("BabyAI-GoToLocal-v0"), not in this source only."""

    @abc.abstractmethod
    def partitions(self) -> list[dict[str, Any]]:
        """The partitions in order, each as JSON; one becomes one shard of each split, so it holds about as many
        episodes as make 100 MB. They depend on the inputs and the options alone, never on the number of workers. A
        partition that knows how many candidates it has says so as "count"; others are counted if there is a limit."""

    @abc.abstractmethod
    def candidates(self, partition: dict[str, Any]) -> Iterator[Candidate]:
        """The episodes of one partition in order, each loaded only when asked; flat in memory. What goes wrong with
        one episode is raised by its `load`; what ends the partition (a truncated archive) is raised by the iterator."""
