"""The Beam steps that write shards: a whole planned conversion, and records from a job of your own."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam

from gato_tokenize.dataset import DatasetTokenizer, shard_name
from gato_tokenize.records import Record
from gato_tokenize.tfrecord import shard_writer
from pipelines.journal import Journal
from pipelines.plan import Plan
from pipelines.write_partition import PLAN, read_done, write_partition


class WritePartitions(beam.PTransform):  # type: ignore[misc]
    """Pipeline begin -> the done-file of each partition of the plan saved in `folder`: a whole conversion's work."""

    def __init__(self, folder: str, partitions: int) -> None:
        super().__init__()
        self.folder, self.count = folder, partitions

    def expand(self, begin: Any) -> Any:
        return (
            begin
            | "Partitions" >> beam.Create(range(self.count))
            | "Spread over workers" >> beam.Reshuffle()
            | "Write a shard each" >> beam.ParDo(_WritePartition(self.folder))
        )


class _WritePartition(beam.DoFn):  # type: ignore[misc]
    def __init__(self, folder: str) -> None:
        self.folder = folder

    def setup(self) -> None:
        folder = Path(self.folder)
        self.plan = Plan.from_json((folder / PLAN).read_text())
        self.tokenizer = DatasetTokenizer.load(folder)

    def process(self, index: int) -> Iterator[int]:
        folder = Path(self.folder)
        if read_done(folder, self.plan, index) is None:
            with Journal(folder, index) as journal:
                write_partition(folder, self.plan, self.tokenizer, index, journal)
        yield index


class WriteShards(beam.PTransform):  # type: ignore[misc]
    """`Record`s from a Beam job of your own -> `count` shards `<folder>/<dataset>-<split>.tfrecord-...` with indexes;
    gives {"file", "records", "bytes", "sha256"} of each.

    All segments of an episode go to one shard, in order; shards and records are ordered by episode id, so the bytes do
    not depend on the runner. Unlike `WritePartitions` this shuffles the records (not the episodes), and a shard's
    records are held in memory while it is written: choose `count` for shards of 100 MB or so.
    """

    def __init__(self, folder: str, dataset: str, split: str, count: int) -> None:
        super().__init__()
        self.folder, self.dataset, self.split, self.count = folder, dataset, split, count

    def expand(self, records: Any) -> Any:
        keyed = records | "By shard" >> beam.Map(
            lambda record, n: (_shard_of(record, n), record.to_bytes()), self.count
        )
        every = records.pipeline | "All shards" >> beam.Create([(index, None) for index in range(self.count)])
        return (
            (keyed, every)
            | "With empty shards" >> beam.Flatten()
            | "Group" >> beam.GroupByKey()
            | "Write" >> beam.Map(self._write)
        )

    def _write(self, group: tuple[int, Iterable[bytes | None]]) -> dict[str, Any]:
        index, items = group
        name = shard_name(self.dataset, self.split, index, self.count)
        parsed = [(Record.from_bytes(data).metadata, data) for data in items if data is not None]
        parsed.sort(key=lambda pair: (pair[0].episode_id, pair[0].segment_index))
        Path(self.folder).mkdir(parents=True, exist_ok=True)
        with shard_writer(Path(self.folder) / name) as shard:
            for _, data in parsed:
                shard.write(data)
        return {"file": name, "records": len(parsed), "bytes": shard.bytes, "sha256": shard.sha256}


def _shard_of(record: Record, count: int) -> int:
    digest = hashlib.sha256(record.metadata.episode_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") % count
