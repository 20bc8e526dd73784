"""LeRobotSource: the episodes of a LeRobot dataset of version 2.0, 2.1 or 3.0, also one of GR00T."""

import contextlib
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gato_tokenize import Episode, EpisodeMetadata
from gato_tokenize.array_spaces import Box
from gato_tokenize.output import counted
from pipelines.sources.errors import Filtered, SourceError
from pipelines.sources.formats.parquet import numbers_of
from pipelines.sources.lerobot.episode import EpisodeMaker, LeRobotOptions
from pipelines.sources.lerobot.fields import Fields, Range, fields_of
from pipelines.sources.lerobot.folder import INFO, LeRobotFolder
from pipelines.sources.lerobot.listing import Listing, Row
from pipelines.sources.lerobot.listing_v2 import ListingV2
from pipelines.sources.lerobot.listing_v3 import ListingV3
from pipelines.sources.lerobot.rows import EpisodeRows
from pipelines.sources.on_disk import OnDisk
from pipelines.sources.options import parse_options
from pipelines.sources.pieces import RECORD_BYTES, Piece, pack, step_bytes
from pipelines.sources.source import Candidate
from pipelines.sources.step_reading import StepReading
from pipelines.sources.step_source import StepSource

LOOK = 4  # episodes that are read for the range of an action, where meta/ does not state it
ANNOUNCED = "announced by info.json, but not stored"
WITHOUT_SPLIT = "in no split of info.json"


class LeRobotSource(StepSource):
    """`lerobot:my/pusht?resize=96x96&fields=-observation/images/wrist`: the folder that holds meta/, data/ and videos/.

    An episode is "pusht/17", by its episode_index. Planning reads meta/ alone, and the sizes of the other files. Each
    episode that info.json announces is a candidate: one that meta/ does not list is filtered, or a reject if a part of
    that list is damaged.
    """

    Options = LeRobotOptions
    reads_addresses = True
    looks_for = "meta/info.json in the folder"

    def __init__(self, argument: str, options: dict[str, str]) -> None:
        self._argument, self._options = argument, parse_options(LeRobotOptions, options)

    @classmethod
    def recognises(cls, lying: OnDisk) -> str | None:
        return lying.path if lying.has(INFO) else None

    @functools.cached_property
    def _folder(self) -> LeRobotFolder:
        return LeRobotFolder(self._argument)

    @functools.cached_property
    def _splits(self) -> dict[str, str]:
        """{split of the dataset: its name here} of those that are read."""
        return self._options.splits_of(list(self._folder.info.splits))

    @functools.cached_property
    def _fields(self) -> Fields:
        folder = self._folder
        features = folder.info.features
        seen = folder.seen
        if not any(name.split(".")[0] == "action" for name in seen):
            seen = {**self._looked_at(), **seen}
        return fields_of(features, folder.modality, seen, bool(folder.tasks))

    def _looked_at(self) -> dict[str, Range]:
        """The range of each action in the first episodes, as far as these can be read: others become rejects."""
        features = self._folder.info.features
        names = [name for name in features if name.split(".")[0] == "action" and len(features[name].shape) == 1]
        rows, found = EpisodeRows(self._folder.path, names), dict[str, list[Any]]()
        listing = self._listing_of([])
        with contextlib.suppress(ValueError):
            for listed in listing.listed()[:LOOK]:
                for _, row in listing.rows(listed.content):
                    table = rows.read(row) if isinstance(row, Row) else None
                    for name in names if table is not None else ():
                        found.setdefault(name, []).append(
                            numbers_of(table.column(name), features[name].shape, name)  # type: ignore[union-attr]
                        )
        rows.close()
        boxes = {name: Box.seen_in(arrays) for name, arrays in found.items()}
        return {name: box.seen for name, box in boxes.items() if box.seen is not None}

    @functools.cached_property
    def _reading(self) -> StepReading:
        stride = self._options.stride_of(self._folder.info.fps)
        return StepReading(self._fields.steps, self._options, stride)

    def _listing_of(self, videos: list[str]) -> Listing:
        folder = self._folder
        return (ListingV3 if folder.info.is_v3 else ListingV2)(folder.path, folder.info, videos)

    @functools.cached_property
    def _listing(self) -> Listing:
        """The list of episodes with the places of the videos that are read."""
        places = (self._fields.places.get(path) for path in self._reading.places.values())
        return self._listing_of([place.column for place in places if place is not None and place.is_video])

    @property
    def _task(self) -> str:
        return self._options.task_of(self._folder.name)

    def readings(self) -> Mapping[str, StepReading]:
        return {self._task: self._reading}

    def notes(self) -> list[str]:
        return self._plan[3] + self._reading.notes

    def splits(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._splits.values()))

    def inputs(self) -> list[dict[str, Any]]:
        return [*self._folder.inputs, *self._plan[0], self._folder.payloads()]

    def partitions(self) -> list[dict[str, Any]]:
        """{"count", "rows": contents of a `Listing`}, and a last one {"count", "missing": [[first, stop), ...], "why"}:
        episodes that info.json announces and the list lacks; "why" is null unless a part of the list is damaged."""
        _, pieces, missing, _ = self._plan
        groups = pack(pieces, self.shard_bytes, self._listing.join)
        return [{"count": sum(content["count"] for content in rows), "rows": rows} for rows in groups] + missing

    @functools.cached_property
    def _plan(self) -> tuple[list[dict[str, Any]], list[Piece], list[dict[str, Any]], list[str]]:
        """(the inputs that list the episodes, a piece for each, a partition of those that are missing, notes)."""
        listing = self._listing
        listed = listing.listed()
        weight = step_bytes(self._reading.spec)
        rows = [
            Piece(one.content, RECORD_BYTES + weight * len(self._reading.kept(one.length)))
            for one in listed
            if self._split_of(one.index) is not None
        ]
        absent = self._absent([one.index for one in listed])
        why = "; ".join(listing.lost) or None
        if why and not absent:
            raise SourceError(f"{why}; info.json does not say which episodes it lists")
        count = sum(stop - first for first, stop in absent)
        missing = [{"count": count, "missing": absent, "why": why}] if absent else []
        notes = [f"{counted(count, 'episode')} {ANNOUNCED}"] if absent and not why else []
        notes += listing.notes
        return listing.inputs, rows, missing, notes

    def _absent(self, stored: list[int]) -> list[list[int]]:
        """[first, stop) of the episodes that info.json announces, in splits that are read, and that are not there."""
        info = self._folder.info
        absent = np.full(info.episodes, not info.splits)
        for name in self._splits:
            absent[slice(info.splits[name].start, info.splits[name].stop)] = True
        absent[[index for index in stored if 0 <= index < info.episodes]] = False
        borders = np.flatnonzero(np.diff(absent, prepend=False, append=False))
        return [[int(first), int(stop)] for first, stop in borders.reshape(-1, 2)]

    def _split_of(self, index: int) -> str | None:
        """The split of an episode, as it is called here; "" if it is in none, and None if that split is not read."""
        splits = self._folder.info.splits
        found = next((name for name, episodes in splits.items() if index in episodes), None)
        if found is None:
            return ""
        return self._splits.get(found)

    def candidates(self, partition: dict[str, Any]) -> Iterator[Candidate]:
        if "missing" in partition:
            yield from self._missing(partition)
            return
        folder, listing = self._folder, self._listing
        maker = EpisodeMaker(
            folder.path, folder.info, self._fields, self._reading, folder.tasks, self._options.tolerance
        )
        with contextlib.closing(maker):
            for content in partition["rows"]:
                for number, row in listing.rows(content):
                    if isinstance(row, Row):
                        uri = folder.file(row.data)
                        yield self._candidate(row.index, uri, functools.partial(self._load, maker, row, uri))
                    else:
                        load = functools.partial(_raise, row)
                        name = f"{folder.name}/row-{number}"
                        yield Candidate(name, content["uri"], number, load, self._split_or_first(-1))

    def _missing(self, partition: dict[str, Any]) -> Iterator[Candidate]:
        why = partition["why"]
        error = Filtered(ANNOUNCED) if why is None else ValueError(f"nothing says where the episode lies: {why}")
        for first, stop in partition["missing"]:
            for index in range(first, stop):
                yield self._candidate(index, self._folder.file("meta"), functools.partial(_raise, error))

    def _candidate(self, index: int, uri: str, load: Any) -> Candidate:
        if self._splits and self._split_of(index) == "":
            load = functools.partial(_raise, Filtered(WITHOUT_SPLIT))
        return Candidate(f"{self._folder.name}/{index}", uri, index, load, self._split_or_first(index))

    def _split_or_first(self, index: int) -> str:
        return self._split_of(index) or next(iter(self._splits.values()), "")

    def _load(self, maker: EpisodeMaker, row: Row, uri: str) -> Episode:
        name = f"{self._folder.name}/{row.index}"
        metadata = EpisodeMetadata(name, "lerobot", self._task, source_uri=uri, source_index=row.index)
        return maker.episode(row, metadata)


def _raise(error: Exception) -> Episode:
    raise error
