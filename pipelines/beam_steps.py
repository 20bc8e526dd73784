"""Beam steps for a job of your own: a source -> `Episode`s -> `Record`s -> shards -> a dataset."""

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam

from gato_tokenize import Episode
from gato_tokenize.storage.dataset import MANIFEST, DatasetTokenizer
from gato_tokenize.storage.records import Record
from gato_tokenize.storage.segments import MAX_BYTES, MAX_TOKENS, segments
from gato_tokenize.storage.shards import parse_shard_name, shard_name
from gato_tokenize.storage.store_path import place
from gato_tokenize.storage.tfrecord import shard_writer
from pipelines.conversion.card import Card
from pipelines.conversion.limit import limited_works
from pipelines.conversion.own_shards import describe_partition, publish_shards
from pipelines.conversion.reject_budget import RejectBudget
from pipelines.conversion.work import Done, Work
from pipelines.conversion.write_partition import tokenize_episode
from pipelines.sources import open_source
from pipelines.sources.errors import Filtered
from pipelines.sources.reading import Reject, read_partition
from pipelines.sources.source import Candidate

REJECTS = "rejects"  # tag of the second output of the first two steps


class ReadEpisodes(beam.PTransform):  # type: ignore[misc]
    """A source string -> `Episode`s and, as a second output, `Reject`s: `result.episodes`, `result[REJECTS]`.

    limit: at most so many candidates of the source. Filtered candidates (blank lines) are in neither output; a Beam
    counter `filtered` counts them.
    """

    def __init__(self, source: str, limit: int | None = None) -> None:
        super().__init__()
        self.source, self.limit = source, limit

    def expand(self, begin: Any) -> Any:
        works = limited_works(open_source(self.source), self.limit)
        return (
            begin
            | "Partitions" >> beam.Create(works)
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(_Read(self.source)).with_outputs(REJECTS, main="episodes")
        )


class _Read(beam.DoFn):  # type: ignore[misc]
    def __init__(self, source: str) -> None:
        self.source = source
        self.filtered = beam.metrics.Metrics.counter("gato", "filtered")

    def process(self, work: Work) -> Iterator[Any]:
        for _, outcome in read_partition(open_source(self.source), work.partition, work.limit):
            if isinstance(outcome, Reject):
                yield beam.pvalue.TaggedOutput(REJECTS, outcome)
            elif isinstance(outcome, Filtered):
                self.filtered.inc()
            else:
                yield outcome


class TokenizeEpisodes(beam.PTransform):  # type: ignore[misc]
    """`Episode`s -> `Record`s and, as a second output, `Reject`s: `result.records`, `result[REJECTS]`.

    A long episode is cut into several records, and each names the `dataset`. `tokenizer` must know the task of every
    episode.
    """

    def __init__(
        self, tokenizer: DatasetTokenizer, dataset: str, max_tokens: int = MAX_TOKENS, max_bytes: int = MAX_BYTES
    ) -> None:
        super().__init__()
        self.arguments = (tokenizer, dataset, max_tokens, max_bytes)

    def expand(self, episodes: Any) -> Any:
        return episodes | "Tokenize" >> beam.ParDo(_Tokenize(*self.arguments)).with_outputs(REJECTS, main="records")


class _Tokenize(beam.DoFn):  # type: ignore[misc]
    def __init__(self, tokenizer: DatasetTokenizer, dataset: str, max_tokens: int, max_bytes: int) -> None:
        self.tokenizer, self.dataset, self.limits = tokenizer, dataset, (max_tokens, max_bytes)

    def process(self, episode: Episode) -> Iterable[Any]:
        named = episode.metadata
        candidate = Candidate(named.episode_id, named.source_uri, named.source_index, lambda: episode)
        record = tokenize_episode(self.tokenizer, named.source_uri, candidate, episode)
        if isinstance(record, Reject):
            yield beam.pvalue.TaggedOutput(REJECTS, record)
            return
        metadata = dataclasses.replace(record.metadata, dataset=self.dataset)
        try:
            yield from segments(dataclasses.replace(record, metadata=metadata), *self.limits)
        except ValueError as error:
            yield beam.pvalue.TaggedOutput(REJECTS, Reject.of(named.source_uri, candidate, "tokenize", error))


class WriteShards(beam.PTransform):  # type: ignore[misc]
    """`Record`s -> {"file", "records", "bytes", "sha256"} of each of the `count` shards
    `<folder>/<dataset>-<split>.tfrecord-...` that it writes, with their indexes. The folder may lie in an object store.

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
        folder = place(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        with shard_writer(folder / name) as shard:
            for _, data in parsed:
                shard.write(data)
        return {"file": name, "records": len(parsed), "bytes": shard.bytes, "sha256": shard.sha256}


class PublishDataset(beam.PTransform):  # type: ignore[misc]
    """(what each `WriteShards` returned, flattened; all `Reject`s) -> the manifest of the dataset, which is published.

    folder: .../NAME/VERSION, on a disk or in an object store, into which the shards of dataset NAME were written, all
    splits with one `count`, and nothing else. tokenizer: the one that made the tokens. inputs: {"uri", "bytes",
    "sha256"} of what was read, if that is to be in the manifest. max_rejects: a count such as 10, or a share such as
    0.5%; with more rejects, nothing is published. card: what README.md says of it.

    Adds the episode list, statistics, TFDS's files, the plan and, last, the manifest: `gato-data verify`, `Dataset` and
    `batches` read the result. Its statistics are counted from the tokens (docs/editing.md), and it counts as read what
    was written or rejected: what the job itself filtered is not known. Raises ValueError if `folder` is a dataset
    already; the pipeline fails with PublishError if the shards do not make a dataset.
    """

    def __init__(
        self,
        folder: str,
        tokenizer: DatasetTokenizer,
        inputs: Sequence[dict[str, Any]] = (),
        max_rejects: str = "0",
        card: Card | None = None,
    ) -> None:
        super().__init__()
        self.folder, self.tokenizer = place(folder), tokenizer
        self.inputs, self.budget, self.card = tuple(inputs), RejectBudget(max_rejects), card or Card()
        if (self.folder / MANIFEST).exists():
            raise ValueError(f"{folder} is a complete dataset already: write into another folder")

    def expand(self, shards_and_rejects: Any) -> Any:
        shards, rejects = shards_and_rejects
        parts = (
            shards
            | "By number" >> beam.Map(lambda shard: (parse_shard_name(shard["file"])[2], shard))
            | "Group" >> beam.GroupByKey()
            | "Describe" >> beam.Map(self._describe)
        )
        once = shards.pipeline | "Once" >> beam.Create([None])
        return once | "Publish" >> beam.Map(self._publish, beam.pvalue.AsList(parts), beam.pvalue.AsList(rejects))

    def _describe(self, group: tuple[int, Iterable[dict[str, Any]]]) -> Done:
        return describe_partition(self.folder, group[0], list(group[1]), self.tokenizer)

    def _publish(self, _: None, parts: list[Done], rejects: list[Reject]) -> dict[str, Any]:
        return publish_shards(self.folder, parts, rejects, self.tokenizer, self.inputs, self.budget, self.card)


def _shard_of(record: Record, count: int) -> int:
    digest = hashlib.sha256(record.metadata.episode_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") % count
