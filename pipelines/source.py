"""Source: where episodes come from. One module a source (`read_*.py`), one line in `SOURCES`, one contract test."""

import abc
import dataclasses
import functools
import importlib
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl

from gato_tokenize import Episode, EpisodeSpec

SOURCES = {
    "rollouts": "pipelines.read_rollouts:RolloutSource",
    "text": "pipelines.read_text:TextSource",
    "image-text": "pipelines.read_image_text:ImageTextSource",
    "minari": "pipelines.read_minari:MinariSource",
}


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
    def partitions(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Pieces of work as JSON, in order, one output shard each, `limit` candidates in all at most. They depend on
        the inputs and the options alone, never on the number of workers, and each holds few enough episodes for a
        shard of about 100 MB. A partition that knows how many candidates it has at most may say so as "count"."""

    @abc.abstractmethod
    def candidates(self, partition: dict[str, Any]) -> Iterator[Candidate]:
        """The episodes of one partition in order, each loaded only when asked; flat in memory. What goes wrong with
        one episode is raised by its `load`; what ends the partition (a truncated archive) is raised by the iterator."""


def read_partition(
    source: Source, partition: dict[str, Any], candidates: Iterator[Candidate] | None = None
) -> Iterator[tuple[Candidate, Episode | Reject | Filtered]]:
    """Every candidate of a partition with what became of it; never raises for what is in the data.

    candidates: instead of all that the source finds there. An error of the iterator itself gives one last Reject: what
    follows in the partition cannot be reached.
    """
    last = Candidate("", source.source, -1, lambda: None)  # type: ignore[arg-type,return-value]
    candidates = source.candidates(partition) if candidates is None else candidates
    while True:
        try:
            candidate = next(candidates)
        except StopIteration:
            return
        except (Exception, SystemExit) as error:
            lost = Candidate(
                f"after {last.episode_id or 'the start'}", last.source_uri, last.source_index + 1, last.load
            )
            message = f"the rest of the partition {partition} cannot be read: {error}"
            yield lost, dataclasses.replace(Reject.of(source.source, lost, "read", error), message=message)
            return
        try:
            yield candidate, candidate.load()
        except Filtered as reason:
            yield candidate, reason
        except (Exception, SystemExit) as error:  # a library made for programs may leave them
            yield candidate, Reject.of(source.source, candidate, "read", error)
        last = candidate


@functools.lru_cache(maxsize=64)
def open_source(source: str) -> Source:
    """The `Source` of a string `name:argument` or `name:argument?option=value&...`.

    Raises SourceError for an unknown name, or where the package that the source needs is not installed.
    """
    name, colon, rest = source.partition(":")
    if not colon or name not in SOURCES:
        raise SourceError(f"{source!r} is no source: write NAME:ARGUMENT, NAME one of {', '.join(SOURCES)}")
    module, _, class_name = SOURCES[name].partition(":")
    try:
        cls = getattr(importlib.import_module(module), class_name)
    except ImportError as error:
        raise SourceError(
            f"source {name!r} needs {error.name or error}: pip install 'gato-toolchain[{name}]' installs it"
        ) from error
    opened: Source = cls(*split_options(rest))
    opened.source = source
    return opened


def split_options(argument: str) -> tuple[str, dict[str, str]]:
    """The argument and the options behind its last `?`; a `?` that no `option=` follows is a wildcard and stays.

    >>> split_options("docs/page?.txt?by=line&key=body")
    ('docs/page?.txt', {'by': 'line', 'key': 'body'})
    """
    found = re.search(r"\?([A-Za-z_][A-Za-z0-9_-]*=.*)$", argument)
    if not found:
        return argument, {}
    try:
        pairs = parse_qsl(found.group(1), keep_blank_values=True, strict_parsing=True)
    except ValueError as error:
        raise SourceError(f"the options of {argument!r} are not of the form option=value&option=value") from error
    if len({key for key, _ in pairs}) != len(pairs):
        raise SourceError(f"an option is given twice in {argument!r}")
    return argument[: found.start()], dict(pairs)


def take(options: dict[str, str], defaults: dict[str, Any]) -> dict[str, Any]:
    """The options with defaults filled in, each cast to the type of its default; SourceError for any other name."""
    unknown = sorted(set(options) - set(defaults))
    if unknown:
        raise SourceError(f"unknown option {', '.join(unknown)}; known: {', '.join(sorted(defaults))}")
    taken = dict(defaults)
    for key, text in options.items():
        try:
            taken[key] = type(defaults[key])(text)
        except ValueError as error:
            raise SourceError(f"option {key}={text!r} must be {type(defaults[key]).__name__}") from error
    return taken
