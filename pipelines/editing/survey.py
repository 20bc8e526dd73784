"""Survey: what a rule takes of each partition of a dataset, counted before anything is written."""

import dataclasses
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from gato_tokenize.storage.dataset import Dataset
from gato_tokenize.storage.episode_list import EPISODES, read_lines
from pipelines.conversion.work import Done
from pipelines.conversion.work_folder import WorkFolder
from pipelines.editing.rules import Listed, Rule
from pipelines.sources.pieces import SHARD_BYTES
from pipelines.stats.from_tokens import COUNTED_FROM_TOKENS


@dataclasses.dataclass
class Taken:
    """What is taken of one partition. A shard is the split of the partition that it holds."""

    episodes: int = 0
    written: int = 0
    bytes: int = 0
    filtered: Counter[str] = dataclasses.field(default_factory=Counter)
    records: Counter[tuple[str, str]] = dataclasses.field(default_factory=Counter)  # by (old split, new split)
    tasks: dict[tuple[str, str], Counter[str]] = dataclasses.field(  # {(old split, task): episodes by new split}
        default_factory=lambda: defaultdict(Counter)
    )

    def add(self, episode: Listed, split: str, why: str) -> None:
        self.episodes += 1
        self.tasks[episode.split, episode.task][split] += 1
        if why:
            self.filtered[why] += 1
            return
        self.written += 1
        self.bytes += sum(line["bytes"] for line in episode.lines)
        self.records[episode.split, split] += len(episode.lines)


@dataclasses.dataclass(frozen=True)
class Survey:
    """A dataset, its partitions' done-files, and what a rule takes of each of them."""

    dataset: Dataset
    rule: Rule
    done: tuple[Done, ...]
    taken: tuple[Taken, ...]

    @classmethod
    def of(cls, dataset: Dataset, rule: Rule) -> "Survey":
        """Read the episode list. Raises ValueError if it or a done-file is damaged."""
        folder = WorkFolder.open(dataset.path)
        done = tuple(_recorded(folder, index) for index in folder.indices)
        survey = cls(dataset, rule, done, tuple(Taken() for _ in done))
        for index, episode in survey.episodes():
            survey.taken[index].add(episode, *rule.place(episode))
        return survey

    def episodes(self) -> Iterator[tuple[int, Listed]]:
        """Yield (partition, episode) of the whole list, in order."""
        places = {
            shard["file"]: (index, split)
            for index, done in enumerate(self.done)
            for split, shard in done.shards.items()
        }
        lines = read_lines(self.dataset.path / EPISODES)
        for (shard, name), group in itertools.groupby(lines, lambda line: (line["shard"], line["episode_id"])):
            if shard not in places:
                raise ValueError(f"{self.dataset.path / EPISODES} names {shard!r}, which no partition wrote")
            index, split = places[shard]
            episode = Listed(list(group), split)
            if len(episode.lines) != episode.lines[0]["num_segments"]:
                raise ValueError(f"{self.dataset.path / EPISODES}: episode {name!r} lacks segments")
            yield index, episode

    def groups(self) -> Iterator[list[int]]:
        """Yield the partitions of which each new partition is made, in order: one that is taken whole stands alone, so
        that its shards stay as they are; parts are put together up to the size of a shard."""
        group: list[int] = []
        size, whole = 0, False
        for index, taken in enumerate(self.taken):
            this_whole = taken.written > 0 and not taken.filtered
            if size and taken.written and (whole or this_whole or size + taken.bytes > SHARD_BYTES):
                yield group
                group, size = [], 0
            group.append(index)
            if taken.written:
                size, whole = size + taken.bytes, this_whole
        yield group

    def whole_shard(self, group: list[int], split: str) -> dict[str, Any] | None:
        """Return the manifest's entry of the old shard that holds what a split takes of a group of partitions, and
        nothing else; None if there is none."""
        found = [
            (self.done[index].shards[old], records)
            for index in group
            for (old, new), records in self.taken[index].records.items()
            if new == split
        ]
        return found[0][0] if len(found) == 1 and found[0][0]["records"] == found[0][1] else None

    def cut_tasks(self) -> set[tuple[str, str]]:
        """Return the (new split, task) whose statistics cannot be merged from those of the partitions: some partition
        gives a part only, or has counted from tokens itself."""
        return {
            (split, task)
            for taken, done in zip(self.taken, self.done, strict=True)
            for (old, task), counts in taken.tasks.items()
            for split in counts
            if split and (len(counts) > 1 or COUNTED_FROM_TOKENS in done.stats[old][task]["notes"])
        }


def _recorded(folder: WorkFolder, index: int) -> Done:
    done = folder.recorded(index)
    if done is None:
        raise ValueError(f"{folder.done_path(index)} is missing: see gato-data verify")
    return done


def lines_of(surveys: Sequence[Survey]) -> Iterator[dict[str, Any]]:
    """Yield every line of the lists, with the dataset's path in it as `dataset`."""
    for survey in surveys:
        for _, episode in survey.episodes():
            yield from ({**line, "dataset": str(survey.dataset.path)} for line in episode.lines)
