"""DqnReplaySource: the episodes of DQN's replay buffers on Atari games, as Dopamine logged them."""

import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gato_tokenize import Episode, EpisodeMetadata
from gato_tokenize.array_spaces import Box, Discrete
from pipelines.sources.dqn_replay.checkpoints import LOGS, frame_of, game_of, has_checkpoints, run_folders
from pipelines.sources.dqn_replay.reader import PADDING, ReplayReader, Streams, padding_of, stacked
from pipelines.sources.dqn_replay.timeline import Timeline, read_timeline
from pipelines.sources.episode_options import EpisodeOptions
from pipelines.sources.errors import Filtered, SourceError
from pipelines.sources.formats.files import names_and_sizes
from pipelines.sources.formats.places import require_size, stamped
from pipelines.sources.on_disk import OnDisk
from pipelines.sources.options import option, parse_options
from pipelines.sources.pieces import RECORD_BYTES, partition_bytes, runs, step_bytes
from pipelines.sources.source import Candidate
from pipelines.sources.step_fields import StepFields
from pipelines.sources.step_reading import StepReading
from pipelines.sources.step_source import StepSource

CUT = "last episode before a gap or the end, of which no mark says that it is whole"
PADDED = "rows of zeros before an episode left out"
BEHEADED = "episode whose beginning is in a checkpoint that is not there"
MOST_STACKED = 16


@dataclasses.dataclass(frozen=True)
class DqnReplayOptions(EpisodeOptions):
    stack: int = option(
        1, "so many pictures in an observation, that of the timestep and those before it, the oldest first; DQN saw 4"
    )
    actions: int = option(18, "how many actions the game has; 18 is the whole set, of which DQN had each game's own")
    order: Literal["auto", "rows", "ring"] = option(
        "auto",
        "the order of a checkpoint's rows: `rows` as they stand, `ring` the last one first, `auto` as `add_count_ckpt`"
        " tells, or `rows` if it is not there",
    )
    padding: Literal["drop", "keep"] = option(
        "drop", "of the up to 3 rows of zeros that Dopamine writes before an episode"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("stack", 1 <= self.stack <= MOST_STACKED, f"in 1 to {MOST_STACKED}")
        self.require("actions", self.actions >= 1, "at least 1")

    @property
    def suffix(self) -> str:
        stack = f"/stack={self.stack}" if self.stack > 1 else ""
        return super().suffix + stack + (f"/actions={self.actions}" if self.actions != 18 else "")


class DqnReplaySource(StepSource):
    """`dqn-replay:dqn/Pong/1/replay_logs`, `dqn-replay:dqn/*/1?stack=4`: folders, each of one run of a game.

    An episode is called after its first row: "dqn/Pong/1/replay_logs/ckpt.3#1207", a task after the game.
    """

    Options = DqnReplayOptions
    reads_addresses = True
    looks_for = "files $store$_observation_ckpt.0.gz, ..., in the folder or in its replay_logs/"

    def __init__(self, argument: str, options: dict[str, str]) -> None:
        self._argument, self._options = argument, parse_options(DqnReplayOptions, options)
        self._options.splits_of(())  # a run has no splits
        self._streams = Streams()

    @classmethod
    def recognises(cls, lying: OnDisk) -> str | None:
        return lying.path if any(map(has_checkpoints, (lying.path, os.path.join(lying.path, LOGS)))) else None

    @functools.cached_property
    def _runs(self) -> dict[str, Timeline]:
        """{folder: its rows}. Raises SourceError if no row can be read."""
        found = {folder: read_timeline(folder, self._options.order) for folder in run_folders(self._argument)}
        for folder, timeline in found.items():
            if not len(timeline.stops):
                raise SourceError(f"{folder} has no rows that can be read: {'; '.join(timeline.unread.values())}")
        return found

    @functools.cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """{task: the shape of its pictures}, by the first run of a game of which they can be described."""
        found: dict[str, tuple[int, ...]] = {}
        faults = []
        for folder, timeline in self._runs.items():
            try:
                stream = frame_of(timeline.found)
            except ValueError as error:
                faults.append(f"{folder}: {error}")
                continue
            if stream.dtype != np.uint8 or len(stream.shape) not in (2, 3):
                raise SourceError(f"{folder}: pictures are uint8[h, w], not {stream.dtype}{list(stream.shape)}")
            found.setdefault(self._task(folder), stream.shape)
        if unknown := sorted({self._task(folder) for folder in self._runs} - set(found)):
            raise SourceError(f"nothing tells the pictures of {', '.join(unknown)}: {'; '.join(faults)}")
        return found

    @functools.cached_property
    def _readings(self) -> dict[str, StepReading]:
        """{task: its reading}."""
        action, digits = Discrete(self._options.actions), len(str(self._options.stack - 1))
        found = {}
        for task, shape in self._shapes.items():
            box = Box(shape, np.dtype(np.uint8))
            names = [f"observation/{i:0{digits}d}" for i in range(self._options.stack)]
            pictures = dict.fromkeys(names if self._options.stack > 1 else ["observation"], box)
            found[task] = StepReading(StepFields({**pictures, "action": action}), self._options)
        return found

    def _task(self, folder: str) -> str:
        return self._options.task_of(game_of(folder))

    def readings(self) -> Mapping[str, StepReading]:
        return self._readings

    def notes(self) -> list[str]:
        found = dict.fromkeys(note for reading in self._readings.values() for note in reading.notes)
        gaps = [f"{run.folder} lacks the checkpoints {', '.join(run.gaps)}" for run in self._runs.values() if run.gaps]
        untold = [run.folder for run in self._runs.values() if run.untold]
        stand = f"no add_count_ckpt tells the order of the rows in {', '.join(untold)}: they are taken as they stand"
        return [*gaps, *([stand] if untold else []), *found]

    def inputs(self) -> list[dict[str, Any]]:
        """The names and sizes of the files, and what they tell of the episodes."""
        found = []
        for folder, run in self._runs.items():
            found.append(names_and_sizes(folder, [*run.files(), ("episodes", None, run.digest)]))
        return found

    def partitions(self) -> list[dict[str, Any]]:
        """{"count", "run", "first", "start", "stop"}: `count` episodes from number `first`, in the rows [start, stop)
        of a run; or {"count", "run", "unread"}: a checkpoint in which no episode can be found. At an address there is
        also the "stamp" of all files of the run."""
        weights = {folder: self._weights(run) for folder, run in self._runs.items()}
        most = partition_bytes(sum(int(each.sum()) for each in weights.values()), self.shard_bytes)
        found: list[dict[str, Any]] = []
        for folder, run in self._runs.items():
            for first, stop in runs(weights[folder], most):
                rows = {"start": int(run.starts[first]), "stop": int(run.stops[stop - 1])}
                found.append({"count": stop - first, "run": folder, "first": first, **rows, **stamped(run.size)})
            found += [{"count": 1, "run": folder, "unread": number} for number in run.unread]
        return found

    def _weights(self, run: Timeline) -> NDArray[np.int64]:
        """int64[E]: the bytes of a shard, about, that each episode makes."""
        spec = self._readings[self._task(run.folder)].spec
        return (run.stops - run.starts) * step_bytes(spec) + RECORD_BYTES

    def candidates(self, partition: dict[str, Any]) -> Iterator[Candidate]:
        run = self._runs[partition["run"]]
        if "unread" in partition:
            yield self._unread(run, partition["unread"])
            return
        require_size(run.folder, run.size, None, partition)
        first, stop = partition["first"], partition["first"] + partition["count"]
        bounds = [*run.starts[first:stop][:1].tolist(), *run.stops[first:stop][-1:].tolist()]
        if bounds != [partition["start"], partition["stop"]] or stop > len(run.stops):
            raise ValueError(f"{run.folder} has changed since it was planned; plan again")
        reader = ReplayReader(run, self._streams, self._shapes[self._task(run.folder)])
        for number in range(first, stop):
            checkpoint, row, *_ = next(run.pieces(int(run.starts[number]), int(run.stops[number])))
            metadata = EpisodeMetadata(
                f"{run.folder}/ckpt.{checkpoint.number}#{row}",
                domain="atari",
                task=self._task(run.folder),
                agent_id="DQN",
                source_uri=checkpoint.path("observation"),
                source_index=row,
                terminated=bool(run.terminated[number]),
                truncated=not run.terminated[number],
            )
            load = functools.partial(self._load, reader, run, number, metadata)
            yield Candidate(metadata.episode_id, metadata.source_uri, row, load)

    def _unread(self, run: Timeline, number: int) -> Candidate:
        (checkpoint,) = (one for one in run.found if one.number == number)
        why = run.unread.get(number, "it could not be read when it was planned")

        def load() -> Episode:
            raise ValueError(f"no episode can be found in the checkpoint {number} of {run.folder}: {why}")

        return Candidate(f"{run.folder}/ckpt.{number}", checkpoint.path("terminal"), number, load)

    def _load(self, reader: ReplayReader, run: Timeline, number: int, metadata: EpisodeMetadata) -> Episode:
        reading, start, stop = self._readings[metadata.task], int(run.starts[number]), int(run.stops[number])
        most = self._options.max_steps
        end = min(stop, start + PADDING + most) if most else stop  # of the pictures that are needed
        actions, rewards = (reader.rows(array, start, stop) for array in ("action", "reward"))
        pictures = reader.rows("observation", start, end)
        padding = padding_of(pictures, actions, rewards)
        if run.beheaded[number] and padding < PADDING:
            raise Filtered(BEHEADED)
        if padding == stop - start:
            raise Filtered("rows of zeros without an episode")
        notes = {} if run.terminated[number] else {CUT: 1}
        if padding and self._options.padding == "drop":
            notes[PADDED] = padding
        else:
            padding = 0
        kept = pictures[padding:]
        frames = stacked(kept, self._options.stack) if self._options.stack > 1 else {"": kept}
        arrays: dict[str, Any] = {
            "/".join(["observation", name]).rstrip("/"): _Beginning(values, stop - start - padding)
            for name, values in frames.items()
        }
        arrays["action"] = actions[padding:]
        return reading.episode(arrays, metadata, rewards[padding:], notes)


class _Beginning:
    """The first rows of an array of so many; `max_steps` leaves out the others."""

    def __init__(self, rows: NDArray[Any], length: int) -> None:
        self._rows, self._length = rows, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        return self._rows[rows]
