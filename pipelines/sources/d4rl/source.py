"""D4rlSource: the episodes of D4RL's flat HDF5 files, each a slice of every array."""

import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping
from typing import Any

from gato_tokenize import Episode, EpisodeMetadata
from pipelines.sources.d4rl.ends import UNSTATED
from pipelines.sources.d4rl.flat_file import Described, FlatFile, describe
from pipelines.sources.episode_options import EpisodeOptions
from pipelines.sources.formats.files import names_and_sizes
from pipelines.sources.formats.hdf5_files import SUFFIXES, members_of
from pipelines.sources.formats.matching import Matches, files_in
from pipelines.sources.formats.places import stamped
from pipelines.sources.on_disk import OnDisk
from pipelines.sources.options import option, parse_options
from pipelines.sources.pieces import RECORD_BYTES, partition_bytes, runs, step_bytes
from pipelines.sources.source import Candidate
from pipelines.sources.step_fields import StepFields
from pipelines.sources.step_reading import StepReading
from pipelines.sources.step_source import StepSource

CUT = "last episode of a file, of which no mark says that it is whole"


@dataclasses.dataclass(frozen=True)
class D4rlOptions(EpisodeOptions):
    length: int = option(
        UNSTATED,
        "the most timesteps of an episode, where a file has no `timeouts` or sets none; 0: only `terminals` and"
        " `timeouts` end one",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("length", self.length >= UNSTATED, "at least 0")


class D4rlSource(StepSource):
    """`d4rl:hopper_medium-v2.hdf5`, or a pattern or folder of such files.

    Episode 7 of a file is "hopper_medium-v2.hdf5#7". A task is called after its file, which gives the spec.
    """

    Options = D4rlOptions
    reads_addresses = True
    looks_for = "an HDF5 file with the array `actions` beside `rewards`, `terminals` or `timeouts`"

    def __init__(self, argument: str, options: dict[str, str]) -> None:
        self._argument, self._options = argument, parse_options(D4rlOptions, options)
        self._options.splits_of(())  # these files are in no splits

    @classmethod
    def recognises(cls, lying: OnDisk) -> str | None:
        members = members_of(lying)
        marks = members & {"rewards", "terminals", "timeouts"}
        return lying.path if "actions" in members and marks else None

    @functools.cached_property
    def _matches(self) -> Matches:
        return files_in(self._argument, SUFFIXES)

    @functools.cached_property
    def _files(self) -> dict[str, Described]:
        return {path: describe(path, self._options.length) for path in self._matches.files}

    @functools.cached_property
    def _readings(self) -> dict[str, StepReading]:
        """{task: its reading}."""
        readings: dict[str, StepReading] = {}
        for file in self._files.values():
            if self._task(file) not in readings:
                fields = StepFields(file.fields.spaces, unreadable=file.fields.unreadable)
                readings[self._task(file)] = StepReading(fields, self._options)
        return readings

    def _task(self, file: Described) -> str:
        return self._options.task_of(os.path.basename(file.uri).rpartition(".")[0] or "d4rl")

    def readings(self) -> Mapping[str, StepReading]:
        return self._readings

    def notes(self) -> list[str]:
        fields = dict.fromkeys(note for reading in self._readings.values() for note in reading.notes)
        return [*self._matches.left_out, *fields]

    def inputs(self) -> list[dict[str, Any]]:
        files = ((file.uri, file.bytes, file.ends.stops.tolist()) for file in self._files.values())
        return [names_and_sizes(self._argument, files)]

    def partitions(self) -> list[dict[str, Any]]:
        """{"count", "uri", "bytes", "first", "start", "stop"}: `count` episodes from number `first`, which lie in the
        rows [start, stop)."""
        weights = [self._weights(file) for file in self._files.values()]
        most = partition_bytes(sum(int(each.sum()) for each in weights), self.shard_bytes)
        found: list[dict[str, Any]] = []
        for file, each in zip(self._files.values(), weights, strict=True):
            for first, stop in runs(each, most):
                rows = {"start": int(file.ends.starts[first]), "stop": int(file.ends.stops[stop - 1])}
                said = {"uri": file.uri, "bytes": file.bytes, **stamped(file.bytes)}
                found.append({"count": stop - first, **said, "first": first, **rows})
        return found

    def _weights(self, file: Described) -> Any:
        """int64[E]: the bytes of a shard, about, that each episode makes."""
        each = step_bytes(self._readings[self._task(file)].spec)
        return (file.ends.stops - file.ends.starts) * each + RECORD_BYTES

    def candidates(self, partition: dict[str, Any]) -> Iterator[Candidate]:
        file = self._files[partition["uri"]]
        data = FlatFile(file.uri, partition, file.rows, file.cache)
        try:
            ends = data.ends(partition["start"], partition["stop"], self._options.length)
            if len(ends.stops) != partition["count"]:
                raise ValueError(f"{file.uri} has changed since it was planned; plan again")
            for index in range(partition["count"]):
                number = partition["first"] + index
                start, stop = (int(rows[index]) + partition["start"] for rows in (ends.starts, ends.stops))
                metadata = EpisodeMetadata(
                    f"{file.uri}#{number}",
                    domain="d4rl",
                    task=self._task(file),
                    agent_id=file.agent,
                    source_uri=file.uri,
                    source_index=number,
                    terminated=bool(ends.terminated[index]),
                    truncated=bool(ends.truncated[index]),
                )
                cut = file.ends.cut and stop == file.rows
                load = functools.partial(self._load, data, file, metadata, range(start, stop), {CUT: 1} if cut else {})
                yield Candidate(metadata.episode_id, file.uri, number, load)
        finally:
            data.close()

    def _load(
        self, data: FlatFile, described: Described, metadata: EpisodeMetadata, rows: range, notes: dict[str, int]
    ) -> Episode:
        reading, keys = self._readings[metadata.task], described.fields.keys
        with data.opened() as file:
            paths = [path for path in reading.places.values() if path in keys]
            arrays = {path: data.slice(file, keys[path], rows) for path in paths}
            return reading.episode(arrays, metadata, data.rewards(file, rows), notes)
