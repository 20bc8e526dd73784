"""RecordingSource: what the sources of recordings have in common: fields from topics, and an episode a recording."""

import abc
import contextlib
import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from gato_tokenize import Episode, EpisodeMetadata
from gato_tokenize.storage.address import full
from pipelines.sources.formats.files import names_and_sizes
from pipelines.sources.formats.matching import Matches
from pipelines.sources.formats.places import Size, require_size, stamped
from pipelines.sources.options import parse_options
from pipelines.sources.pieces import RECORD_BYTES, Piece, pack, step_bytes
from pipelines.sources.recordings.episode import EpisodeMaker
from pipelines.sources.recordings.fields import TopicFields, read_fields
from pipelines.sources.recordings.options import RecordingOptions
from pipelines.sources.recordings.recording import Recording, named
from pipelines.sources.source import Candidate
from pipelines.sources.step_reading import StepReading
from pipelines.sources.step_source import StepSource

LOOK = 2  # recordings that are looked at for their fields


class RecordingSource(StepSource):
    """A source of recordings: a subclass says which there are, how large they are, and how one is opened.

    domain: that of its episodes. Planning looks into the first recordings alone.
    """

    Options = RecordingOptions
    reads_addresses = True
    domain: ClassVar[str]

    def __init__(self, argument: str, options: dict[str, str]) -> None:
        self._argument, self._options = full(argument), parse_options(RecordingOptions, options)
        self._options.splits_of(())  # recordings are in no splits

    @abc.abstractmethod
    def matches(self, argument: str) -> Matches:
        """Find the recordings."""

    @abc.abstractmethod
    def sizes(self, paths: Sequence[str]) -> dict[str, Size]:
        """{path: the bytes of the recording}."""

    @abc.abstractmethod
    def opened(self, path: str) -> Recording:
        """Open a recording."""

    @functools.cached_property
    def _matches(self) -> Matches:
        return self.matches(self._argument)

    @functools.cached_property
    def _sizes(self) -> dict[str, Size]:
        return self.sizes(self._matches.files)

    @functools.cached_property
    def _fields(self) -> TopicFields:
        return read_fields(self._matches.files, self.opened, LOOK)

    @functools.cached_property
    def _reading(self) -> StepReading:
        return StepReading(self._fields.step_fields, self._options.of_topics(self._fields.paths))

    @functools.cached_property
    def _task(self) -> str:
        folders = [os.path.dirname(path) for path in self._matches.files]
        return self._options.task_of(os.path.basename(os.path.commonpath(folders)) or self.domain)

    def readings(self) -> Mapping[str, StepReading]:
        return {self._task: self._reading}

    def notes(self) -> list[str]:
        used = sorted({self._fields.places[path].topic for path in self._reading.places.values()})
        rates = [f"{topic} {self._fields.rates[topic]:.4g}" for topic in used if self._fields.rates.get(topic)]
        told = [f"messages a second in the first recording: {', '.join(rates)}"] if rates else []
        return told + self._matches.left_out + self._reading.notes

    def inputs(self) -> list[dict[str, Any]]:
        return [names_and_sizes(self._argument, self._sizes.items())]

    def partitions(self) -> list[dict[str, Any]]:
        """{"count", "files": [[path, bytes]]}, and the stamp after the bytes of a recording at an address."""
        each = self._steps * step_bytes(self._reading.spec) / max(1, next(iter(self._sizes.values())))
        pieces = [
            Piece([path, size, *stamped(size).values()], RECORD_BYTES + int(size * each))
            for path, size in self._sizes.items()
        ]
        return [{"count": len(files), "files": files} for files in pack(pieces, self.shard_bytes)]

    @property
    def _steps(self) -> int:
        """Timesteps of the first recording, about."""
        acted = [path for name, path in self._reading.places.items() if name.split("/")[0] == "action"]
        rate = self._options.fps or self._fields.rates.get(self._fields.places[acted[0]].topic, 0.0)
        return len(self._reading.kept(max(1, round(self._fields.seconds * rate))))

    def candidates(self, partition: dict[str, Any]) -> Iterator[Candidate]:
        maker = EpisodeMaker(self._fields, self._reading, self._options)
        for path, size, *stamp in partition["files"]:
            said = {"stamp": stamp[0]} if stamp else {}
            yield Candidate(path, path, 0, functools.partial(self._load, maker, path, size, said))

    def _load(self, maker: EpisodeMaker, path: str, size: int, said: dict[str, str]) -> Episode:
        with named(path):
            require_size(path, self.sizes([path])[path], size, said)
            metadata = EpisodeMetadata(path, domain=self.domain, task=self._task, source_uri=path)
            with contextlib.closing(self.opened(path)) as recording:
                return maker.episode(recording, metadata)
