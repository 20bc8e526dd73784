"""Preview: what a source's metadata and its first episodes show, before anything is converted."""

import dataclasses
import itertools
from collections import Counter

import numpy as np

from gato_tokenize import ContinuousSpec, DiscreteSpec, Episode
from gato_tokenize.storage.dataset import DatasetTokenizer
from pipelines.conversion.plan import Plan
from pipelines.conversion.work import Work
from pipelines.sources import open_source
from pipelines.sources.errors import Filtered
from pipelines.sources.source import Source

LOOK = 3  # episodes of each source


@dataclasses.dataclass
class Seen:
    """What the first episodes of a task show. positions: the most observation tokens in a timestep. ranges: {path:
    (smallest, largest value)} of the numeric fields."""

    episodes: int = 0
    steps: int = 0
    positions: int = 0
    ranges: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)

    def add(self, episode: Episode, tokenizer: DatasetTokenizer) -> None:
        """Raises ValueError for an episode that cannot be tokenized."""
        sequence = tokenizer.task(episode.metadata.task).encode(episode)
        self.episodes, self.steps = self.episodes + 1, self.steps + episode.num_steps
        self.positions = max(self.positions, int(sequence.local_positions.max(initial=-1)) + 1)
        for path, field in episode.spec.fields.items():
            values = episode.fields[path]
            if isinstance(field, ContinuousSpec | DiscreteSpec) and np.size(values):
                low, high = self.ranges.get(path, (np.inf, -np.inf))
                self.ranges[path] = (min(low, float(np.min(values))), max(high, float(np.max(values))))


@dataclasses.dataclass(frozen=True)
class Preview:
    """A source as it is before it is converted.

    episodes: number of candidates, of which some may be filtered or rejected. partitions: number of them. bytes: of
    its inputs. splits: {split of the dataset: number of its candidates}. seen: {task: what its first episodes show}.
    failed: which of these would be rejected or filtered, and why; and partitions that cannot be read to their ends.
    """

    source: str
    episodes: int
    partitions: int
    bytes: int
    splits: dict[str, int]
    seen: dict[str, Seen]
    failed: list[str]


def preview(name: str, plan: Plan, tokenizer: DatasetTokenizer) -> Preview:
    """Look at a source of a plan, and at its first LOOK candidates in this process."""
    works = [work for work in plan.partitions if work.source == name]
    size = sum(given.get("bytes", 0) for given in plan.inputs if given["source"] == name)
    seen: dict[str, Seen] = {}
    failed: list[str] = []
    source = open_source(name)
    splits: Counter[str] = Counter()
    for work in works:
        splits.update(_splits(source, work, plan, failed))
    parts = (itertools.islice(source.candidates(work.partition), work.limit) for work in works)
    try:
        for candidate in itertools.islice(itertools.chain.from_iterable(parts), LOOK):
            try:
                episode = candidate.load()
                seen.setdefault(episode.metadata.task, Seen()).add(episode, tokenizer)
            except Filtered as reason:
                failed.append(f"{candidate.episode_id} would be filtered: {reason}")
            except Exception as error:
                failed.append(f"{candidate.episode_id} would be a reject: {type(error).__name__}: {error}")
    except Exception as error:
        failed.append(f"reading ends with {type(error).__name__}: {error}")
    in_order = {split: splits[split] for split in plan.splits if splits[split]}
    return Preview(name, splits.total(), len(works), size, in_order, seen, failed)


def _splits(source: Source, work: Work, plan: Plan, failed: list[str]) -> dict[str, int]:
    """Count the candidates of a work in each split; none is loaded. Where the partition does not say it, it is gone
    through."""
    if work.most is not None and "count" in work.partition and not plan.validation_fraction:
        known = source.split_counts(work.partition)
        if sum(known.values()) == work.most:
            return known
        if not source.splits():  # a limit cuts it
            return {"train": work.most}
    counts: Counter[str] = Counter()
    try:
        for candidate in itertools.islice(source.candidates(work.partition), work.limit):
            counts[plan.split_of(candidate.episode_id, candidate.split)] += 1
    except Exception as error:
        failed.append(f"a partition ends after {counts.total()} candidates: {type(error).__name__}: {error}")
    return counts
