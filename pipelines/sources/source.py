"""Source: where episodes come from. Each source is one module, one line in `SOURCES` and one contract test."""

import abc
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from gato_tokenize import Episode, EpisodeSpec
from pipelines.sources.on_disk import OnDisk
from pipelines.sources.pieces import SHARD_BYTES
from pipelines.sources.step_reading import StepReading


@dataclasses.dataclass(frozen=True)
class Candidate:
    """An episode that is not read yet. It has a name before anything can go wrong with it."""

    episode_id: str  # stable and unique in its source
    source_uri: str  # what a person would open to look at it: a file, an archive's member, an environment
    source_index: int  # its number there: of a line, a sample or an episode
    load: Callable[[], Episode]
    split: str = ""  # one of the source's `splits`; "" if it has none


class Source(abc.ABC):
    """A source of episodes with its argument and options, opened from a string such as `text:docs/*.txt?by=line`.

    A subclass is built from (argument, options). Building it reads nothing, so a worker can cheaply build it again;
    unknown options and bad values raise a SourceError that names the legal ones (see `parse_options`).
    """

    Options: type[Any]  # a `SourceOptions`, from which comes the table in docs/sources.md
    reads_files: ClassVar[bool] = True  # the argument is a path: if one of exactly that name exists, a `?` in it stays
    looks_for: ClassVar[str] = ""  # what `recognises` looks for, in a few words; "" if no plain path means this source
    by_endings: ClassVar[bool] = False  # it goes by names of files alone: a source that finds a mark of its own wins
    reads_addresses: ClassVar[bool] = False  # the path may be an address, such as s3://bucket/set
    source: str  # the string it was opened from; set by `open_source`
    shard_bytes: int = SHARD_BYTES  # at which its partitions aim; set by `limited_works`

    @abc.abstractmethod
    def __init__(self, argument: str, options: dict[str, str]) -> None: ...

    @classmethod
    def recognises(cls, lying: OnDisk) -> str | None:
        """Return the argument by which this source reads what lies at a plain path, or None if it is another's. Only
        names and metadata are looked at. Raises SourceError for what cannot be looked at, such as a damaged file."""
        return None

    @abc.abstractmethod
    def inputs(self) -> list[dict[str, Any]]:
        """List what the episodes depend on, as JSON, in byte order: {"uri", "bytes", "sha256"} of a file, {"uri",
        "versions"} of an environment. It is part of the plan: another input makes another plan."""

    def notes(self) -> list[str]:
        """List what is left out of the plan, a line each: names of files that lead to the same file as another, and
        fields that are in no episode."""
        return []

    def splits(self) -> tuple[str, ...]:
        """Return the splits into which the source itself divides its episodes, as they are called in the dataset. Each
        candidate names its own; they become the dataset's, unless a validation fraction is asked for."""
        return ()

    def split_counts(self, partition: dict[str, Any]) -> dict[str, int]:
        """Return {split in the dataset: how many candidates of a partition are in it}, as far as the partition itself
        tells it: they are gone through otherwise."""
        return {} if self.splits() else {"train": partition.get("count", 0)}

    @abc.abstractmethod
    def specs(self) -> dict[str, EpisodeSpec]:
        """Return {task: its spec}. A task's name is unique in the world ("BabyAI-GoToLocal-v0"), not only here."""

    def reasons(self) -> dict[str, Mapping[str, str]]:
        """Return {task: {path of a field: why it has its type}} of a source that infers its specs, for the plan."""
        return {}

    def readings(self) -> Mapping[str, StepReading]:
        """Return {task: how its fields are read} of a source that takes `EpisodeOptions`: what it left out, and where
        each field stands in the format, so that a file of specs can change it."""
        return {}

    @abc.abstractmethod
    def partitions(self) -> list[dict[str, Any]]:
        """Divide the episodes into partitions, in order, each as JSON. A partition becomes one shard of each split, so
        it should hold as many episodes as make about `shard_bytes` (see `pipelines.sources.pieces`). Partitions depend
        on the inputs, the options and `shard_bytes` alone, never on the number of workers. One may give the number of
        its candidates as "count"; a limit counts them otherwise."""

    @abc.abstractmethod
    def candidates(self, partition: dict[str, Any]) -> Iterator[Candidate]:
        """Iterate over the episodes of a partition in order, in constant memory; none is loaded before its `load` is
        called. `load` raises what is wrong with one episode. The iterator raises what ends the partition, such as a
        truncated archive."""
