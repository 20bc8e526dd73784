"""EpisodeTable: a split's records, from its episode list; the expert's returns; which episodes can prompt which."""

import array
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_tokenize import Dataset
from gato_tokenize.storage.episode_list import EPISODES, read_lines
from gato_tokenize.storage.store_path import Place

_INTEGERS = ("record", "offset", "bytes", "tokens", "steps", "segment_index", "num_segments")
_WIDE = ("offset", "bytes")  # int64; the others are int32


@dataclasses.dataclass(frozen=True, eq=False)
class EpisodeTable:
    """R records of E episodes of one split, in the order of the shards; the segments of an episode are adjacent.

    shards      the files
    tasks       their names
    groups      the pairs (task, agent) that occur
    columns     {name: int32[R]}: shard (index into shards), record (number in the shard), tokens, steps, task, group,
                episode (0 to E - 1, rising); int64[R]: offset and bytes (in the shard, with framing)
    returns     float64[E]; NaN: unknown
    """

    shards: tuple[Place, ...]
    tasks: tuple[str, ...]
    groups: tuple[tuple[str, str], ...]
    columns: dict[str, NDArray[Any]]
    returns: NDArray[np.float64]

    @classmethod
    def read(cls, dataset: Dataset, split: str = "train") -> "EpisodeTable":
        """Read the list of a split.

        Raises KeyError for an unknown split, ValueError if the list is damaged or contradicts the manifest.
        """
        shards = tuple(dataset.shards(split))
        numbers = {path.name: number for number, path in enumerate(shards)}
        filled = {name: array.array("q" if name in _WIDE else "i") for name in (*_INTEGERS, "shard", "group")}
        found, known = array.array("d"), dict[tuple[str, str], int]()
        try:
            for line in read_lines(dataset.path / EPISODES):
                if line["shard"] in numbers:
                    for name in _INTEGERS:
                        filled[name].append(line[name])
                    filled["shard"].append(numbers[line["shard"]])
                    filled["group"].append(known.setdefault((line["task"], line["agent_id"]), len(known)))
                    found.append(np.nan if line["return"] is None else line["return"])
            groups, group = _sorted(known, np.frombuffer(filled.pop("group"), np.int32))
        except (TypeError, OverflowError) as error:
            raise ValueError(f"{dataset.path / EPISODES}: a line is not one of an episode list: {error!r}") from error
        rows: dict[str, Any] = {name: np.frombuffer(column, column.typecode) for name, column in filled.items()}
        returns = np.frombuffer(found, np.float64)
        tasks = tuple(sorted({task for task, _ in groups}))
        task = np.array([tasks.index(task) for task, _ in groups], np.int32)[group]
        _check(dataset, split, rows)
        first = rows.pop("segment_index") == 0
        del rows["num_segments"]
        rows |= {"task": task, "group": group, "episode": np.cumsum(first, dtype=np.int32) - 1}
        return cls(shards, tasks, groups, rows, returns[first])

    def __len__(self) -> int:
        return len(self.columns["tokens"])

    @property
    def tokens(self) -> NDArray[np.int32]:
        return self.columns["tokens"]

    @property
    def episode_starts(self) -> NDArray[np.int64]:
        """Return int64[E + 1]: the first record of each episode, then R."""
        return np.searchsorted(self.columns["episode"], np.arange(len(self.returns) + 1, dtype=np.int32))

    def expert_returns(self) -> dict[str, float]:
        """Return {task: the expert's return} of the tasks with known returns (paper appendix E).

        It is the best mean of W consecutive episodes; W is a tenth of the task's episodes with a known return, at least
        1 and at most 1000.
        """
        task = self.columns["task"][self.episode_starts[:-1]]
        known = ~np.isnan(self.returns)
        experts = {}
        for number, name in enumerate(self.tasks):
            returns = self.returns[known & (task == number)]
            if returns.size:
                experts[name] = expert_return(returns)
        return experts

    def with_expert_share(self, fraction: float) -> tuple["EpisodeTable", dict[str, int]]:
        """Return (the episodes with at least `fraction` of the expert's return, {task: number of episodes left out}).

        Episodes without a return stay. If the expert's return R is negative, fraction * R would ask for more than the
        expert reaches, so the bar is R - (1 - fraction) * |R|, which is fraction * R for a positive R.
        """
        starts = self.episode_starts
        task = self.columns["task"][starts[:-1]]
        bars = np.full(len(self.tasks), -np.inf)
        for name, expert in self.expert_returns().items():
            bars[self.tasks.index(name)] = expert - (1 - fraction) * abs(expert)
        bad = self.returns < bars[task]  # False where the return is NaN
        left_out = {self.tasks[number]: int(count) for number, count in enumerate(np.bincount(task[bad])) if count}
        return self._episodes(~bad), left_out

    def _episodes(self, kept: NDArray[np.bool_]) -> "EpisodeTable":
        """Return the table of the episodes for which bool[E] `kept` is True."""
        records = kept[self.columns["episode"]]
        columns = {name: column[records] for name, column in self.columns.items()}
        columns["episode"] = (np.cumsum(kept, dtype=np.int32) - 1)[columns["episode"]]
        return dataclasses.replace(self, columns=columns, returns=self.returns[kept])


def expert_return(returns: NDArray[np.float64]) -> float:
    """Find the best mean of W consecutive returns; W is a tenth of them, at least 1 and at most 1000.

    >>> expert_return(np.array([0.0] * 10 + [1.0, 3.0] + [0.0] * 8))  # W = 2
    2.0
    """
    window = min(1000, max(1, len(returns) // 10))
    sums = np.concatenate([[0.0], np.cumsum(returns)])
    return float((sums[window:] - sums[:-window]).max() / window)


def _sorted(known: Mapping[Any, int], numbers: NDArray[np.int32]) -> tuple[tuple[Any, ...], NDArray[np.int32]]:
    """Return the values that `known` numbers as they came, sorted, and with their places among them for `numbers`."""
    values = tuple(sorted(known))
    places = np.empty(len(values), np.int32)
    places[[known[value] for value in values]] = np.arange(len(values))
    return values, places[numbers]


def _check(dataset: Dataset, split: str, rows: Mapping[str, NDArray[np.int32]]) -> None:
    """Raise ValueError if the list is not the one that the manifest counted."""
    path, shards = dataset.path / EPISODES, dataset.manifest["splits"][split]["shards"]
    counts = np.bincount(rows["shard"], minlength=len(shards))
    sums = np.zeros(len(shards), np.int64)
    np.add.at(sums, rows["shard"], rows["tokens"])
    for number, shard in enumerate(shards):
        counted = {"records": int(counts[number]), "tokens": int(sums[number])}
        if any(shard[name] != count for name, count in counted.items()):
            wanted = {name: shard[name] for name in counted}
            raise ValueError(
                f"{path} lists {counted} of {shard['file']}, the manifest {wanted}: it is damaged, convert"
                " it again into another version"
            )
    index, last = rows["segment_index"], rows["segment_index"] == rows["num_segments"] - 1
    expected = np.where(
        np.append(True, last)[:-1], 0, np.append(-1, index)[:-1] + 1
    )  # the next, or a new episode's first
    if (rows["tokens"] < 1).any() or (rows["steps"] < 1).any() or (index != expected).any() or not last[-1:].all():
        raise ValueError(
            f"{path} has records without tokens, or episodes without all their segments: it is damaged, convert it"
            " again into another version"
        )
