"""One partition -> one shard of each split: idempotent, atomic, deterministic. Plain functions, no Beam.

One worker writes a partition whole, so no episode crosses a shuffle. Its files appear whole or not at all: the episode
list, the shards with their indexes, the rejects and, last, the done-file. A process that finds the done-file finds the
others.
"""

import contextlib
import gzip
import io
from collections import Counter, defaultdict
from typing import Any, NamedTuple, cast

from gato_tokenize import Episode, TokenSequence
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
from pipelines.sources.errors import Filtered
from pipelines.sources.reading import Outcome, Reject, Step, read_partition
from pipelines.sources.source import Candidate
from pipelines.stats.episode_stats import as_json, document_stats, episode_stats, merge_stats

TOGETHER = 256  # documents that are tokenized and written together: enough that the cost of switching is spread
_CHARACTERS = 2**18  # of documents that wait: more of them gain nothing and take memory
_LINES_BYTES = 2**16  # of the episode list that are compressed together


def write_here(folder: WorkFolder) -> None:
    """Write every partition in this process, in order: the simplest `run` of `convert`, for data that kills nothing."""
    for index in folder.indices:
        write_partition(folder, index)


def write_partition(
    folder: WorkFolder, index: int, on_step: OnStep = lambda event: None, one_by_one: bool = False
) -> Done:
    """Write partition `index`, or do nothing if it is done; returns what became of it.

    Candidates in the partition's quarantine are left out. on_step: called before each step, and with each reject.
    one_by_one: a candidate is written before the next one is read, so that the last step begun names the candidate at
    which a process died. Otherwise short documents are tokenized and written together, which is faster; the bytes are
    the same. Raises OSError if a file cannot be written; nothing in the data makes this raise.
    """
    done = folder.done(index)
    if done is not None:
        return done
    work = folder.plan.partitions[index]
    selection = Selection(work, folder.quarantine(index))
    with contextlib.ExitStack() as stack:
        writer = _PartitionWriter(folder, index, on_step, stack, 1 if one_by_one else TOGETHER)
        source = open_source(work.source)
        for candidate, outcome in read_partition(
            source, work.partition, selection.limit, writer.begin_step, selection.decide
        ):
            writer.add(candidate, outcome)
        writer.flush()
        for reject in selection.rest(writer.rest_lost is not None):
            writer.add_reject(reject)
        writer.begin_stage("save")
    return writer.save()


def tokenize_episode(
    tokenizer: DatasetTokenizer, source: str, candidate: Candidate, episode: Episode
) -> Record | Reject:
    """The whole episode as one record, not yet cut into segments; a Reject if it cannot be tokenized."""
    try:
        sequence = tokenizer.task(episode.metadata.task).encode(episode)
        return Record(sequence, episode.metadata, episode.rewards)
    except Exception as error:
        return Reject.of(source, candidate, "tokenize", error)


class _Waiting(NamedTuple):
    """A candidate that is read and not yet written, with the step in which it was read."""

    step: Step
    candidate: Candidate
    outcome: Outcome


class _PartitionWriter:
    """The files of one partition while it is written, and what became of its candidates.

    Documents wait until there are `together` of them, or many characters. The shards and the episode list are open
    until `stack` ends; `save` writes the rest.
    """

    def __init__(
        self, folder: WorkFolder, index: int, on_step: OnStep, stack: contextlib.ExitStack, together: int
    ) -> None:
        self._folder, self._index, self._on_step, self._together = folder, index, on_step, together
        self._plan, self._tokenizer = folder.plan, folder.tokenizer
        self._source = self._plan.partitions[index].source
        self._step = Step(0, "next", "", self._source, -1)
        self._waiting: list[_Waiting] = []
        self._characters = 0  # of the documents that wait
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
        packed = stack.enter_context(gzip.GzipFile("", "wb", 6, raw, mtime=0))  # no name, no time: the same bytes
        self._lines = stack.enter_context(io.BufferedWriter(cast(io.RawIOBase, packed), _LINES_BYTES))

    def begin_step(self, step: Step) -> None:
        self._step = step
        self._on_step(step)

    def begin_stage(self, stage: str) -> None:
        """Begin another step with the candidate that the last one was made with."""
        self.begin_step(self._step._replace(stage=stage))

    def add(self, candidate: Candidate, outcome: Outcome) -> None:
        """Write a candidate, after those that wait; a document or a filtered one may wait itself."""
        self._waiting.append(_Waiting(self._step, candidate, outcome))
        may_wait = isinstance(outcome, Filtered)
        if isinstance(outcome, Episode) and outcome.spec.is_document:
            may_wait = True
            self._characters += sum(len(text) for texts in outcome.fields.values() for text in texts)
        if not may_wait or len(self._waiting) >= self._together or self._characters >= _CHARACTERS:
            self.flush()

    def flush(self) -> None:
        """Write all that waits, in order."""
        waiting, self._waiting, self._characters = self._waiting, [], 0
        sequences = self._tokenized(waiting)
        documents: dict[tuple[str, str], list[tuple[Episode, TokenSequence]]] = defaultdict(list)
        for place, (step, candidate, outcome) in enumerate(waiting):
            if isinstance(outcome, Episode):
                record = self._record(step, candidate, outcome, sequences.get(place))
                if isinstance(record, Record):
                    self._add_episode(candidate, outcome, record, documents)
                else:
                    self.add_reject(record)
            elif isinstance(outcome, Filtered):
                self._read += 1
                self._filtered[str(outcome)] += 1
            else:
                self.add_reject(outcome)
        for (split, task), pairs in documents.items():
            episodes, of_documents = zip(*pairs, strict=True)
            self._count(split, task, document_stats(episodes, self._tokenizer.task(task), of_documents))

    def _tokenized(self, waiting: list[_Waiting]) -> dict[int, TokenSequence]:
        """{place in `waiting`: tokens} of the episodes of each task in which all can be tokenized."""
        places: dict[str, list[int]] = defaultdict(list)
        for place, (_, _, outcome) in enumerate(waiting):
            if isinstance(outcome, Episode):
                places[outcome.metadata.task].append(place)
        found: dict[int, TokenSequence] = {}
        for task, own in places.items():
            self.begin_step(waiting[own[0]].step._replace(stage="tokenize"))
            episodes = [cast(Episode, waiting[place].outcome) for place in own]
            with contextlib.suppress(Exception):  # `_record` tokenizes each alone, and finds the one at fault
                found |= zip(own, self._tokenizer.task(task).encode_batch(episodes), strict=True)
        return found

    def _record(
        self, step: Step, candidate: Candidate, episode: Episode, sequence: TokenSequence | None
    ) -> Record | Reject:
        if sequence is not None:
            return Record(sequence, episode.metadata, episode.rewards)
        self.begin_step(step._replace(stage="tokenize"))
        return tokenize_episode(self._tokenizer, self._source, candidate, episode)

    def add_reject(self, reject: Reject) -> None:
        self._read += 1
        self._rejects.append(reject)
        self._on_step(reject)

    def _add_episode(self, candidate: Candidate, episode: Episode, record: Record, documents: Any) -> None:
        try:
            parts = segments(record, self._plan.max_tokens, self._plan.max_bytes)
        except ValueError as error:  # before anything of it is written
            return self.add_reject(Reject.of(self._source, candidate, "tokenize", error))
        self._read += 1
        self._written += 1
        split, task = self._plan.split_of(candidate.episode_id, candidate.split), record.metadata.task
        for part in parts:
            self._write(split, part)
        if episode.spec.is_document:
            documents[split, task].append((episode, record.sequence))
        else:
            self._count(split, task, episode_stats(episode, self._tokenizer.task(task), record.sequence))

    def _count(self, split: str, task: str, stats: dict[str, Any]) -> None:
        merge_stats(self._stats[split].setdefault(task, {}), stats)

    def _write(self, split: str, record: Record) -> None:
        shard, entry, named = self._shards[split], self._entries[split], record.metadata
        extent = shard.write(record.to_bytes())
        tokens, steps = len(record.sequence), record.sequence.num_steps
        self._lines.write(line_bytes(episode_line(record, entry["file"], entry["records"], extent)))
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
