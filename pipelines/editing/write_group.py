"""One partition of an edit: shards that stay as they are, linked, and shards of the records that are taken, copied."""

import contextlib
import gzip
from collections import Counter
from collections.abc import Iterable
from typing import Any

from gato_tokenize.storage.dataset import DatasetTokenizer
from gato_tokenize.storage.durable import durable_file, sync_folder
from gato_tokenize.storage.episode_list import line_bytes
from gato_tokenize.storage.records import Record
from gato_tokenize.storage.store_path import Place
from gato_tokenize.storage.tfrecord import ShardWriter, index_path, read_frame_at, shard_writer
from pipelines.conversion.retry import link
from pipelines.conversion.work import Done
from pipelines.conversion.work_folder import WorkFolder
from pipelines.editing.rules import Listed
from pipelines.editing.survey import Survey
from pipelines.stats.episode_stats import as_json, merge_stats
from pipelines.stats.from_tokens import stats_from_tokens


def write_group(
    folder: WorkFolder,
    index: int,
    survey: Survey,
    group: list[int],
    episodes: Iterable[Listed],
    recount: set[tuple[str, str]],
) -> Done:
    """Write partition `index` of the work folder from the partitions `group` of a dataset, whose episodes are given.

    recount: the (split, task) whose statistics are counted from the records; those of others are merged. Raises
    CorruptRecordError for a damaged record.
    """
    with contextlib.ExitStack() as stack:
        writer = _GroupWriter(folder, index, survey, group, recount, stack)
        for episode in episodes:
            writer.add(episode)
    return writer.save()


class _GroupWriter:
    """The files of one partition while it is written; they are open until `stack` ends."""

    def __init__(
        self,
        folder: WorkFolder,
        index: int,
        survey: Survey,
        group: list[int],
        recount: set[tuple[str, str]],
        stack: contextlib.ExitStack,
    ) -> None:
        self._folder, self._index, self._survey, self._group, self._recount = folder, index, survey, group, recount
        self._tokenizer: DatasetTokenizer = survey.dataset.tokenizer
        self._written = 0
        self._linked: dict[str, dict[str, Any]] = {}  # {new split: the old shard's entry}
        self._writers: dict[str, ShardWriter] = {}
        self._entries: dict[str, dict[str, Any]] = {}
        for split in folder.plan.splits:
            path = folder.shard_path(split, index)
            self._entries[split] = {"file": path.name, "records": 0, "steps": 0, "tokens": 0, "first_id": None}
            whole = survey.whole_shard(group, split)
            if whole is None:
                self._writers[split] = stack.enter_context(shard_writer(path))
            else:
                self._linked[split] = whole
                _link_shard(survey.dataset.path / whole["file"], path)
        raw = stack.enter_context(durable_file(folder.episodes_path(index)))
        self._lines = stack.enter_context(gzip.GzipFile("", "wb", 6, raw, mtime=0))  # no name, no time: the same bytes
        self._stats: dict[str, dict[str, Any]] = {split: {} for split in folder.plan.splits}
        self._merge_stats()

    def _merge_stats(self) -> None:
        for index in self._group:
            for (old, task), counts in self._survey.taken[index].tasks.items():
                for new in counts:
                    if new and (new, task) not in self._recount:
                        known = self._survey.done[index].stats[old][task]
                        merge_stats(self._stats[new].setdefault(task, {}), known)

    def add(self, episode: Listed) -> None:
        """Take an episode, if the rule does."""
        split, _ = self._survey.rule.place(episode)
        if not split:
            return
        recount, writer = (split, episode.task) in self._recount, self._writers.get(split)
        frames = [self._read(line) for line in episode.lines] if recount or writer else []
        for number, line in enumerate(episode.lines):
            extent = writer.write(frames[number]) if writer else (line["offset"], line["bytes"])
            self._add_line(split, line, extent)
        if recount:
            name = self._survey.dataset.manifest["dataset"]
            whole = Record.join([Record.from_bytes(data, name) for data in frames])
            counted = as_json(stats_from_tokens(whole, self._tokenizer.task(episode.task)))
            merge_stats(self._stats[split].setdefault(episode.task, {}), counted)
        self._written += 1

    def _read(self, line: dict[str, Any]) -> bytes:
        return read_frame_at(self._survey.dataset.shard(line["shard"]), line["offset"], line["record"])

    def _add_line(self, split: str, line: dict[str, Any], extent: tuple[int, int]) -> None:
        entry = self._entries[split]
        place = {"shard": entry["file"], "record": entry["records"], "offset": extent[0], "bytes": extent[1]}
        self._lines.write(line_bytes({**line, **place}))
        entry["records"] += 1
        entry["steps"] += line["steps"]
        entry["tokens"] += line["tokens"]
        entry["first_id"] = entry["first_id"] or line["episode_id"]
        entry["last_id"] = line["episode_id"]

    def save(self) -> Done:
        """Write the done-file, once all other files are whole; returns its content."""
        for place in (self._folder.path, self._folder.path / "index"):
            sync_folder(place)
        taken = [self._survey.taken[index] for index in self._group]
        filtered = sum((one.filtered for one in taken), Counter())
        contents = {split: {"bytes": shard.bytes, "sha256": shard.sha256} for split, shard in self._writers.items()}
        contents |= {
            split: {name: shard[name] for name in ("bytes", "sha256")} for split, shard in self._linked.items()
        }
        done = Done(
            plan_sha256=self._folder.plan.sha256,
            partition=self._index,
            read=sum(one.episodes for one in taken),
            written=self._written,
            rejected={},
            filtered=dict(filtered),
            rest_lost=None,
            shards={split: {**entry, **contents[split]} for split, entry in self._entries.items()},
            stats=self._stats,
        )
        return self._folder.write_done(self._index, done)


def _link_shard(before: Place, after: Place) -> None:
    index_path(after).parent.mkdir(exist_ok=True)
    link(before, after)
    link(index_path(before), index_path(after))
