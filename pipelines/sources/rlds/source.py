"""RldsSource: RLDS datasets in TFRecord files (Open X-Embodiment, DROID, LIBERO), read without TensorFlow."""

import functools
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from gato_tokenize import CorruptRecordError, Episode, EpisodeMetadata
from gato_tokenize.field_spec import ImageSpec
from gato_tokenize.storage.address import RemoteError
from gato_tokenize.storage.tfrecord import read_frame_at, record_offsets
from pipelines.sources.formats.places import require_unchanged, stamped
from pipelines.sources.on_disk import OnDisk
from pipelines.sources.options import parse_options
from pipelines.sources.pieces import RECORD_BYTES, Piece, pack, partition_bytes, ranges
from pipelines.sources.rlds.dataset import RldsFolder, Shard, is_dataset
from pipelines.sources.rlds.episode import LOOK, RldsEpisodes, RldsOptions
from pipelines.sources.source import Candidate
from pipelines.sources.step_reading import StepReading
from pipelines.sources.step_source import StepSource

PATCH_GROWTH = 8  # a shard stores pixels without loss, in about 8 times the bytes of their JPEG


class RldsSource(StepSource):
    """`rlds:bridge_dataset/1.0.0?fields=-observation/image_3`: the folder NAME/VERSION, or NAME for its newest version.

    An episode is a record of a shard, "bridge_dataset/1.0.0/train-00003/17". Partitions are ranges of records, made
    from dataset_info.json: planning reads no record but the first ones, for what features.json does not say. Every
    record that is announced is a candidate, so each one that a damaged or missing file has lost is a reject.
    """

    Options = RldsOptions
    reads_addresses = True
    looks_for = "features.json and dataset_info.json in the folder, or in one like 1.0.0 below it"

    def __init__(self, argument: str, options: dict[str, str]) -> None:
        self._argument, self._options = argument, parse_options(RldsOptions, options)

    @classmethod
    def recognises(cls, lying: OnDisk) -> str | None:
        return lying.path if is_dataset(lying) else None

    @functools.cached_property
    def _folder(self) -> RldsFolder:
        return RldsFolder(self._argument)

    @functools.cached_property
    def _splits(self) -> dict[str, str]:
        """{split of the dataset: its name here} of those that are read."""
        return self._options.splits_of(self._folder.splits)

    @functools.cached_property
    def _episodes(self) -> RldsEpisodes:
        return RldsEpisodes(self._folder.features, self._options, self._first_records())

    @property
    def _task(self) -> str:
        return self._options.task_of(self._folder.name)

    def readings(self) -> Mapping[str, StepReading]:
        return {self._task: self._episodes.reading}

    def notes(self) -> list[str]:
        older = self._folder.other_versions
        versions = [f"{self._folder.path} is the newest version; {', '.join(older)} is left out"] if older else []
        return versions + self._episodes.reading.notes

    def splits(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._splits.values()))

    def inputs(self) -> list[dict[str, Any]]:
        return [*self._folder.inputs, self._folder.fingerprint(list(self._splits))]

    def partitions(self) -> list[dict[str, Any]]:
        """{"count", "pieces": [{"split", "shard", "uri", "bytes", "first", "count", "last"}]}: a piece is `count`
        records of a shard, the last of it if "last"; "bytes" is the size of the file, or null if it is missing."""
        growth = PATCH_GROWTH if self._makes_patches else 1
        weights = {split: self._folder.record_bytes(split) * growth + RECORD_BYTES for split in self._splits}
        total = sum(self._folder.records(split) * weight for split, weight in weights.items())
        aim = partition_bytes(total, self.shard_bytes)
        pieces = (
            Piece(piece, weight * piece["count"])
            for split, weight in weights.items()
            for shard in self._folder.shards(split)
            for piece in _pieces(shard, max(1, aim // weight))
        )
        groups = pack(pieces, self.shard_bytes)
        return [{"count": sum(piece["count"] for piece in group), "pieces": group} for group in groups]

    def split_counts(self, partition: dict[str, Any]) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for piece in partition["pieces"]:
            counts[self._splits[piece["split"]]] += piece["count"]
        return counts

    @property
    def _makes_patches(self) -> bool:
        """Whether pictures that lie in the records as JPEG are stored as patches, because they are resized."""
        reading, steps = self._episodes.reading, self._folder.features.steps
        for path, field in reading.spec.fields.items():
            if isinstance(field, ImageSpec) and steps[reading.places[path]].shape[:2] != field.resize:
                return True
        return False

    def candidates(self, partition: dict[str, Any]) -> Iterator[Candidate]:
        surplus = []
        for piece in partition["pieces"]:
            offsets = _offsets(piece)
            yield from self._records(piece, offsets)
            if piece["last"] and isinstance(next(offsets), int):
                surplus.append(f"{piece['uri']} goes on after record {piece['first'] + piece['count'] - 1}")
        if surplus:
            raise ValueError(f"{'; '.join(surplus)}, the last that dataset_info.json counts: mend its shardLengths")

    def _records(self, piece: dict[str, Any], offsets: Iterator[int | Exception]) -> Iterator[Candidate]:
        split = self._splits[piece["split"]]
        for number, offset in zip(range(piece["first"], piece["first"] + piece["count"]), offsets, strict=False):
            episode_id = f"{self._folder.name}/{self._folder.version}/{piece['shard']}/{number}"
            load = functools.partial(self._load, episode_id, piece["uri"], number, offset)
            yield Candidate(episode_id, piece["uri"], number, load, split)

    def _load(self, episode_id: str, uri: str, number: int, offset: int | Exception) -> Episode:
        if isinstance(offset, Exception):
            raise offset
        data = read_frame_at(uri, offset, number)
        metadata = EpisodeMetadata(episode_id, "rlds", self._task, source_uri=uri, source_index=number)
        return self._episodes.episode(data, metadata)

    def _first_records(self) -> Iterator[bytes]:
        """The first records that can be read, of the first shards that are there."""
        shards = [shard for split in self._splits for shard in self._folder.shards(split) if shard.bytes]
        return itertools.chain.from_iterable(_readable(shard) for shard in shards[:LOOK])


def _pieces(shard: Shard, each: int) -> Iterator[dict[str, Any]]:
    """Cut a shard into pieces of at most `each` records."""
    for first, stop in ranges(shard.records, each):
        yield {
            "split": shard.split,
            "shard": shard.name,
            "uri": shard.path,
            "bytes": shard.bytes,
            **stamped(shard.bytes),
            "first": first,
            "count": stop - first,
            "last": stop == shard.records,
        }


def _readable(shard: Shard) -> Iterator[bytes]:
    """The first records of a shard, without those that are damaged: they become rejects."""
    try:
        for number, offset in enumerate(itertools.islice(record_offsets(shard.path), LOOK)):
            try:
                yield read_frame_at(shard.path, offset, number)
            except CorruptRecordError:
                continue
    except RemoteError:
        raise
    except (CorruptRecordError, OSError):
        return


def _offsets(piece: dict[str, Any]) -> Iterator[int | Exception]:
    """The offset of each record from the first of a piece, then, without end, what became of the records after it."""
    uri, size = piece["uri"], piece["bytes"]
    number = -1
    try:
        require_unchanged(uri, size, piece)
        for number, offset in enumerate(record_offsets(uri)):
            if number >= piece["first"]:
                yield offset
    except (OSError, ValueError) as error:
        while True:
            yield error
    while True:
        yield ValueError(f"{uri}: the file ends after {number + 1} records, and dataset_info.json counts more")
