"""One partition -> one shard of each split: idempotent, atomic, deterministic. Plain functions, no Beam.

One worker writes a partition whole, so no episode crosses a shuffle. Its files appear whole or not at all: the episode
list, the shards with their indexes, the rejects and, last, the done-file. A process that finds the done-file finds the
others.
"""

import contextlib
import dataclasses
import gzip
from collections import Counter
from typing import Any

from gato_tokenize import Episode
from gato_tokenize.storage.dataset import DatasetTokenizer
from gato_tokenize.storage.durable import durable_file
from gato_tokenize.storage.episode_list import episode_line, line_bytes
from gato_tokenize.storage.records import Record
from gato_tokenize.storage.segments import segments
from gato_tokenize.storage.tfrecord import ShardWriter, shard_writer
from pipelines.conversion.journal import OnStep
from pipelines.conversion.selection import Selection
from pipelines.conversion.work import Done, RestLost
from pipelines.conversion.work_folder import WorkFolder
from pipelines.sources import open_source
from pipelines.sources.reading import Outcome, Reject, Step, read_partition
from pipelines.sources.source import Candidate, Filtered
from pipelines.stats.episode_stats import as_json, episode_stats, merge_stats


def write_here(folder: WorkFolder) -> None:
    """Write every partition in this process, in order: the simplest `run` of `convert`, for data that kills nothing."""
    for index in folder.indices:
        write_partition(folder, index)


def write_partition(folder: WorkFolder, index: int, on_step: OnStep = lambda event: None) -> Done:
    """Write partition `index`, or do nothing if it is done; returns what became of it.

    Candidates in the partition's quarantine are left out. on_step: called before each step, and with each reject.
    Raises OSError if a file cannot be written; nothing in the data makes this raise.
    """
    done = folder.done(index)
    if done is not None:
        return done
    work = folder.plan.partitions[index]
    selection = Selection(work, folder.quarantine(index))
    with contextlib.ExitStack() as stack:
        writer = _PartitionWriter(folder, index, on_step, stack)
        source = open_source(work.source)
        for candidate, outcome in read_partition(
            source, work.partition, selection.limit, writer.begin_step, selection.decide
        ):
            writer.add(candidate, outcome)
        for reject in selection.rest(writer.rest_lost is not None):
            writer.add_reject(reject)
        writer.begin_stage("save")
    return writer.save()


def tokenize_episode(
    tokenizer: DatasetTokenizer, dataset: str, source: str, candidate: Candidate, episode: Episode
) -> Record | Reject:
    """The whole episode as one record, not yet cut into segments; a Reject if it cannot be tokenized."""
    try:
        sequence = tokenizer.task(episode.metadata.task).encode(episode)
        return Record(sequence, dataclasses.replace(episode.metadata, dataset=dataset))
    except Exception as error:
        return Reject.of(source, candidate, "tokenize", error)


class _PartitionWriter:
    """The files of one partition while it is written, and what became of its candidates.

    The shards and the episode list are open until `stack` ends; `save` writes the rest.
    """

    def __init__(self, folder: WorkFolder, index: int, on_step: OnStep, stack: contextlib.ExitStack) -> None:
        self._folder, self._index, self._on_step = folder, index, on_step
        self._plan, self._tokenizer = folder.plan, folder.tokenizer
        self._source = self._plan.partitions[index].source
        self._step = Step(0, "next", "", self._source, -1)
        self._read = self._written = 0
        self._rejects: list[Reject] = []
        self._filtered: Counter[str] = Counter()
        self._stats: dict[str, dict[str, Any]] = {split: {} for split in self._plan.splits}
        self._shards: dict[str, ShardWriter] = {}
        self._entries: dict[str, dict[str, Any]] = {}
        for split in self._plan.splits:
            path = folder.shard_path(split, index)
            self._shards[split] = stack.enter_context(shard_writer(path))
            self._entries[split] = {"file": path.name, "records": 0, "steps": 0, "tokens": 0, "first_id": None}
        raw = stack.enter_context(durable_file(folder.episodes_path(index)))
        self._lines = stack.enter_context(gzip.GzipFile("", "wb", 6, raw, mtime=0))  # no name, no time: the same bytes

    def begin_step(self, step: Step) -> None:
        self._step = step
        self._on_step(step)

    def begin_stage(self, stage: str) -> None:
        """Begin another step with the candidate that the last one was made with."""
        self.begin_step(self._step._replace(stage=stage))

    def add(self, candidate: Candidate, outcome: Outcome) -> None:
        if isinstance(outcome, Episode):
            self.begin_stage("tokenize")
            record = tokenize_episode(self._tokenizer, self._plan.dataset, self._source, candidate, outcome)
            if isinstance(record, Reject):
                self.add_reject(record)
            else:
                self._add_episode(candidate, outcome, record)
        elif isinstance(outcome, Filtered):
            self._read += 1
            self._filtered[str(outcome)] += 1
        else:
            self.add_reject(outcome)

    def add_reject(self, reject: Reject) -> None:
        self._read += 1
        self._rejects.append(reject)
        self._on_step(reject)

    def _add_episode(self, candidate: Candidate, episode: Episode, record: Record) -> None:
        self._read += 1
        self._written += 1
        split, task = self._plan.split_of(candidate.episode_id, candidate.split), record.metadata.task
        for segment in segments(record, self._plan.max_tokens, self._plan.max_bytes):
            self._write(split, segment)
        stats = episode_stats(episode, self._tokenizer.task(task), record.sequence)
        merge_stats(self._stats[split].setdefault(task, {}), stats)

    def _write(self, split: str, record: Record) -> None:
        shard, entry, named = self._shards[split], self._entries[split], record.metadata
        shard.write(record.to_bytes())
        tokens, steps = len(record.sequence), record.sequence.num_steps
        self._lines.write(line_bytes(episode_line(record, entry["file"], entry["records"], shard.extents[-1])))
        entry["records"] += 1
        entry["steps"] += steps
        entry["tokens"] += tokens
        entry["first_id"] = entry["first_id"] or named.episode_id
        entry["last_id"] = named.episode_id

    @property
    def rest_lost(self) -> RestLost | None:
        """Where reading ended before the partition did, if it did."""
        for number, reject in enumerate(self._rejects):
            if reject.lost_from is not None:
                return RestLost(reject.lost_from, number)
        return None

    def save(self) -> Done:
        """Write the rejects and, last, the done-file; returns its content."""
        self._folder.write_rejects(self._index, self._rejects)
        done = Done(
            plan_sha256=self._plan.sha256,
            partition=self._index,
            read=self._read,
            written=self._written,
            rejected=dict(Counter(reject.reason for reject in self._rejects)),
            filtered=dict(self._filtered),
            rest_lost=self.rest_lost,
            shards={
                split: {**self._entries[split], "bytes": shard.bytes, "sha256": shard.sha256}
                for split, shard in self._shards.items()
            },
            stats=as_json(self._stats),
        )
        return self._folder.write_done(self._index, done)
