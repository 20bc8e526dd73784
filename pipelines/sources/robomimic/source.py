"""RobomimicSource: the demonstrations of robomimic, robosuite, LIBERO and MimicGen, in HDF5 files."""

import dataclasses
import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from gato_tokenize import Episode, EpisodeMetadata
from gato_tokenize.array_spaces import Text
from pipelines.sources.episode_options import EpisodeOptions
from pipelines.sources.formats.files import names_and_sizes
from pipelines.sources.formats.hdf5 import child, opened
from pipelines.sources.formats.hdf5_files import SUFFIXES, members_of
from pipelines.sources.formats.matching import Matches, files_in
from pipelines.sources.formats.places import stamped
from pipelines.sources.on_disk import OnDisk
from pipelines.sources.options import option, parse_options
from pipelines.sources.pieces import RECORD_BYTES, Piece, pack, step_bytes
from pipelines.sources.robomimic.demo_file import FILE_NAME, INSTRUCTIONS, DemoFile, read_demo_file
from pipelines.sources.robomimic.episode import DemoReader
from pipelines.sources.robomimic.splits import Splits, choose_masks, demos_of
from pipelines.sources.source import Candidate
from pipelines.sources.step_fields import StepFields
from pipelines.sources.step_reading import StepReading
from pipelines.sources.step_source import StepSource


@dataclasses.dataclass(frozen=True)
class RobomimicOptions(EpisodeOptions):
    flip: Literal["no", "vertical", "both"] = option(
        "no",
        "`vertical` puts pictures upright that stand upside down, as those of LIBERO and robosuite do; `both` also"
        " exchanges left and right, which turns them by 180 degrees",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        turned = [path for path, role in self.chosen.by_path if role in ("frames", "rgb-frames", "channels-first")]
        self.require("flip", self.flip == "no" or not turned, f"no, since {', '.join(turned)} is not [h, w, channels]")


class RobomimicSource(StepSource):
    """`robomimic:low_dim.hdf5`, or `robomimic:libero_90?flip=vertical` for the files of a folder.

    An episode is a group `data/demo_K`, "libero_90/a_demo.hdf5#demo_0". A task is an environment, as `env_args` names
    it; its spec comes from the first file that has it.
    """

    Options = RobomimicOptions
    reads_addresses = True
    looks_for = "an HDF5 file with groups data/demo_0, ... that have `actions`"

    def __init__(self, argument: str, options: dict[str, str]) -> None:
        self._argument, self._options = argument, parse_options(RobomimicOptions, options)

    @classmethod
    def recognises(cls, lying: OnDisk) -> str | None:
        return lying.path if any(re.fullmatch("data/[^/]+/actions", name) for name in members_of(lying)) else None

    @functools.cached_property
    def _matches(self) -> Matches:
        return files_in(self._argument, SUFFIXES)

    @functools.cached_property
    def _files(self) -> dict[str, DemoFile]:
        return {path: read_demo_file(path) for path in self._matches.files}

    @functools.cached_property
    def _splits(self) -> Splits:
        return choose_masks(list(self._files.values()), self._options)

    @functools.cached_property
    def _readings(self) -> dict[str, StepReading]:
        """{task: its reading}."""
        readings: dict[str, StepReading] = {}
        for file in self._files.values():
            if self._task(file) not in readings:
                readings[self._task(file)] = StepReading(_step_fields(file), self._options)
        return readings

    def _task(self, file: DemoFile) -> str:
        return self._options.task_of(file.env_name or "robomimic")

    def readings(self) -> Mapping[str, StepReading]:
        return self._readings

    def notes(self) -> list[str]:
        fields = dict.fromkeys(note for reading in self._readings.values() for note in reading.notes)
        left = sum(len(file.demos) for file in self._files.values()) - sum(
            len(self._demos(file)) for file in self._files.values()
        )
        unsplit = (
            [f"{left} demonstrations are in none of the masks {', '.join(self._splits.names)}"] if left > 0 else []
        )
        return [*self._matches.left_out, *self._splits.notes, *unsplit, *fields]

    def splits(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._splits.names.values()))

    def inputs(self) -> list[dict[str, Any]]:
        files = ((file.uri, file.bytes, file.demos, file.masks, file.texts) for file in self._files.values())
        return [names_and_sizes(self._argument, files)]

    def _demos(self, file: DemoFile) -> list[tuple[str, str]]:
        return demos_of(file, self._splits)

    def partitions(self) -> list[dict[str, Any]]:
        """{"count", "pieces": [{"uri", "bytes", "first", "stop"}]}: demonstrations [first, stop) of those of the
        file that are read."""
        pieces = []
        for file in self._files.values():
            weight = step_bytes(self._readings[self._task(file)].spec) * file.steps + RECORD_BYTES
            for index in range(len(self._demos(file))):
                said = {"uri": file.uri, "bytes": file.bytes, **stamped(file.bytes)}
                piece = {**said, "first": index, "stop": index + 1}
                pieces.append(Piece(piece, weight))
        groups = pack(pieces, self.shard_bytes, _joined)
        return [{"count": sum(one["stop"] - one["first"] for one in group), "pieces": group} for group in groups]

    def candidates(self, partition: dict[str, Any]) -> Iterator[Candidate]:
        for piece in partition["pieces"]:
            file = self._files[piece["uri"]]
            demos = self._demos(file)
            for index in range(piece["first"], piece["stop"]):
                name, mask = demos[index]
                episode_id = f"{piece['uri']}#{name}"
                load = functools.partial(self._load, episode_id, file, piece, name, index)
                yield Candidate(episode_id, piece["uri"], index, load, self._splits.names.get(mask, ""))

    def _load(self, episode_id: str, file: DemoFile, piece: dict[str, Any], name: str, index: int) -> Episode:
        task = self._task(file)
        reading = self._readings[task]
        with opened(file.uri, piece["bytes"], piece) as data:
            demo = DemoReader(child(child(data, "data", ""), name, "data"), f"data/{name}", file, self._options.flip)
            metadata = EpisodeMetadata(
                episode_id,
                domain="robomimic",
                task=task,
                source_uri=file.uri,
                source_index=index,
                success=demo.success,
                terminated=demo.terminated,
            )
            return reading.episode(demo.arrays(reading), metadata, demo.rewards)


def _joined(one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any] | None:
    return {**one, "stop": two["stop"]} if one["uri"] == two["uri"] and one["stop"] == two["first"] else None


def _step_fields(file: DemoFile) -> StepFields:
    found = file.fields
    spaces = found.spaces | {path: Text() for path in file.texts}
    instruction = next((path for path in INSTRUCTIONS if path in spaces), "")
    apart = {FILE_NAME: f"instruction={FILE_NAME} makes it the instruction"}
    return StepFields(spaces, instruction, apart, found.unreadable)
