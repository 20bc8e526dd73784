"""One partition -> one shard of each split: idempotent, atomic, deterministic. Plain functions, no Beam.

A partition is written whole by one worker, so no episode crosses a shuffle. Its files appear in this order, each whole
or not at all: shards and their indexes, rejects, episode list, done-file. Whoever finds the done-file finds the rest.
"""

import contextlib
import dataclasses
import gzip
from collections import Counter
from pathlib import Path
from typing import Any

from gato_tokenize import Episode
from gato_tokenize.storage.dataset import DatasetTokenizer
from gato_tokenize.storage.durable import durable_file
from gato_tokenize.storage.episode_list import episode_line, line_bytes
from gato_tokenize.storage.records import Record
from gato_tokenize.storage.segments import segments
from gato_tokenize.storage.tfrecord import ShardWriter, shard_writer
from pipelines.conversion.journal import Watch
from pipelines.conversion.plan import Plan
from pipelines.conversion.selection import Guarded
from pipelines.conversion.work_folder import (
    episodes_path,
    json_line,
    read_done,
    read_quarantine,
    rejects_path,
    write_done,
)
from pipelines.sources import open_source
from pipelines.sources.source import Candidate, Filtered, Reject
from pipelines.stats.episode_stats import as_json, episode_stats, merge_stats


def write_partition(
    folder: Path, plan: Plan, tokenizer: DatasetTokenizer, index: int, watch: Watch = lambda event: None
) -> dict[str, Any]:
    """Write partition `index` of a plan below `folder` and return its done-file's content; do nothing if it is done.

    Candidates in the partition's quarantine are left out. `watch` is told of each step. Raises OSError where a file
    cannot be written; nothing in the data makes it raise.
    """
    done = read_done(folder, plan, index)
    if done is not None:
        return done
    work = plan.partitions[index]
    source = open_source(work["source"])
    guarded = Guarded(source, work, read_quarantine(folder, index), watch)
    report = _Report(folder, plan, tokenizer, index)
    with contextlib.ExitStack() as stack:
        report.open(stack)
        for candidate, result in guarded.results():
            guarded.tell("tokenize")
            outcome: Any = result
            if isinstance(result, Episode):
                outcome = tokenize_episode(tokenizer, plan.dataset, source.source, candidate, result)
            report.add(candidate, outcome)
            if isinstance(outcome, Reject):
                watch(outcome)
        guarded.tell("save")
    return report.save(guarded.rest_lost(len(report.rejects)))


def tokenize_episode(
    tokenizer: DatasetTokenizer, dataset: str, source: str, candidate: Candidate, episode: Episode
) -> tuple[Episode, Record] | Reject:
    """The whole episode as one record, not yet cut into segments; a Reject where it cannot be tokenized."""
    try:
        sequence = tokenizer.task(episode.metadata.task).encode(episode)
        return episode, Record(sequence, dataclasses.replace(episode.metadata, dataset=dataset))
    except Exception as error:
        return Reject.of(source, candidate, "tokenize", error)


class _Report:
    """The files of one partition while it is written, and what became of its candidates."""

    def __init__(self, folder: Path, plan: Plan, tokenizer: DatasetTokenizer, index: int) -> None:
        self.folder, self.plan, self.tokenizer, self.index = folder, plan, tokenizer, index
        self.read = self.written = 0
        self.rejects: list[Reject] = []
        self.filtered: Counter[str] = Counter()
        self.stats: dict[str, dict[str, Any]] = {split: {} for split in plan.splits}
        self.shards: dict[str, ShardWriter] = {}
        self.tallies: dict[str, dict[str, Any]] = {
            split: {"file": plan.shard(split, index), "records": 0, "steps": 0, "tokens": 0, "first_id": None}
            for split in plan.splits
        }

    def open(self, stack: contextlib.ExitStack) -> None:
        for split in self.plan.splits:
            self.shards[split] = stack.enter_context(shard_writer(self.folder / self.plan.shard(split, self.index)))
        raw = stack.enter_context(durable_file(episodes_path(self.folder, self.index)))
        self.lines = stack.enter_context(
            gzip.GzipFile("", "wb", 6, raw, mtime=0)
        )  # no name, no time: same bytes always

    def add(self, candidate: Candidate, result: "tuple[Episode, Record] | Reject | Filtered") -> None:
        self.read += 1
        if isinstance(result, Reject):
            self.rejects.append(result)
        elif isinstance(result, Filtered):
            self.filtered[str(result)] += 1
        else:
            episode, record = result
            self.written += 1
            split, task = self.plan.split_of(candidate.episode_id), record.metadata.task
            for segment in segments(record, self.plan.max_tokens, self.plan.max_bytes):
                self._write(split, segment)
            stats = episode_stats(episode, self.tokenizer.task(task), record.sequence)
            merge_stats(self.stats[split].setdefault(task, {}), stats)

    def _write(self, split: str, record: Record) -> None:
        shard, tally, named = self.shards[split], self.tallies[split], record.metadata
        shard.write(record.to_bytes())
        tokens, steps = len(record.sequence), record.sequence.num_steps
        self.lines.write(line_bytes(episode_line(record, tally["file"], tally["records"], shard.extents[-1])))
        tally["records"] += 1
        tally["steps"] += steps
        tally["tokens"] += tokens
        tally["first_id"] = tally["first_id"] or named.episode_id
        tally["last_id"] = named.episode_id

    def save(self, rest_lost: dict[str, int] | None) -> dict[str, Any]:
        """Write the rejects and, last, the done-file; return its content."""
        if self.rejects:
            rejects = rejects_path(self.folder, self.index)
            rejects.parent.mkdir(exist_ok=True)
            with durable_file(rejects) as file:
                file.writelines(json_line(dataclasses.asdict(reject)) for reject in self.rejects)
        rejected = Counter(reject.reason for reject in self.rejects)
        shards = {
            split: {**self.tallies[split], "bytes": shard.bytes, "sha256": shard.sha256}
            for split, shard in self.shards.items()
        }
        done = {
            "plan_sha256": self.plan.sha256,
            "partition": self.index,
            "read": self.read,
            "written": self.written,
            "rejected": dict(rejected),
            "filtered": dict(self.filtered),
            "rest_lost": rest_lost,
            "shards": shards,
            "stats": as_json(self.stats),
        }
        return write_done(self.folder, self.index, done)
