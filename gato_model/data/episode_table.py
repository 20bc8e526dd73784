"""EpisodeTable: a split's records, from its episode list; the expert's returns; which episodes can prompt which."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_tokenize import Dataset
from gato_tokenize.storage.episode_list import EPISODES, read_lines
from gato_tokenize.storage.store_path import Place

_INTEGERS = ("record", "offset", "bytes", "tokens", "steps", "segment_index", "num_segments")


@dataclasses.dataclass(frozen=True, eq=False)
class EpisodeTable:
    """R records of E episodes of one split, in the order of the shards; the segments of an episode are adjacent.

    shards      the files
    tasks       their names
    groups      the pairs (task, agent) that occur
    columns     {name: int64[R]}: shard (index into shards), record (number in the shard), offset and bytes (in the
                shard, with framing), tokens, steps, task, group, episode (0 to E - 1, rising)
    returns     float64[E]; NaN: unknown
    """

    shards: tuple[Place, ...]
    tasks: tuple[str, ...]
    groups: tuple[tuple[str, str], ...]
    columns: dict[str, NDArray[np.int64]]
    returns: NDArray[np.float64]

    @classmethod
    def read(cls, dataset: Dataset, split: str = "train") -> "EpisodeTable":
        """Read the list of a split.

        Raises KeyError for an unknown split, ValueError if the list is damaged or contradicts the manifest.
        """
        shards = tuple(dataset.shards(split))
        numbers = {path.name: number for number, path in enumerate(shards)}
        lines = [line for line in read_lines(dataset.path / EPISODES) if line["shard"] in numbers]
        try:
            rows = {name: np.array([line[name] for line in lines], np.int64) for name in _INTEGERS}
            tasks, task = _numbered([line["task"] for line in lines])
            groups, group = _numbered([(line["task"], line["agent_id"]) for line in lines])
            returns = np.array([np.nan if line["return"] is None else line["return"] for line in lines], np.float64)
            rows["shard"] = np.array([numbers[line["shard"]] for line in lines], np.int64)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{dataset.path / EPISODES}: a line is not one of an episode list: {error!r}") from error
        _check(dataset, split, rows)
        first = rows.pop("segment_index") == 0
        del rows["num_segments"]
        rows |= {"task": task, "group": group, "episode": np.cumsum(first) - 1}
        return cls(shards, tasks, groups, rows, returns[first])

    def __len__(self) -> int:
        return len(self.columns["tokens"])

    @property
    def tokens(self) -> NDArray[np.int64]:
        return self.columns["tokens"]

    @property
    def episode_starts(self) -> NDArray[np.int64]:
        """Return int64[E + 1]: the first record of each episode, then R."""
        return np.searchsorted(self.columns["episode"], np.arange(len(self.returns) + 1))

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
        columns["episode"] = (np.cumsum(kept) - 1)[columns["episode"]]
        return dataclasses.replace(self, columns=columns, returns=self.returns[kept])


def expert_return(returns: NDArray[np.float64]) -> float:
    """Find the best mean of W consecutive returns; W is a tenth of them, at least 1 and at most 1000.

    >>> expert_return(np.array([0.0] * 10 + [1.0, 3.0] + [0.0] * 8))  # W = 2
    2.0
    """
    window = min(1000, max(1, len(returns) // 10))
    sums = np.concatenate([[0.0], np.cumsum(returns)])
    return float((sums[window:] - sums[:-window]).max() / window)


def _numbered(values: list[Any]) -> tuple[tuple[Any, ...], NDArray[np.int64]]:
    """Return the different values, sorted, and the index of each value among them."""
    different = sorted(set(values))
    places = {value: number for number, value in enumerate(different)}
    return tuple(different), np.array([places[value] for value in values], np.int64)


def _check(dataset: Dataset, split: str, rows: dict[str, NDArray[np.int64]]) -> None:
    """Raise ValueError if the list is not the one that the manifest counted."""
    path = dataset.path / EPISODES
    for number, shard in enumerate(dataset.manifest["splits"][split]["shards"]):
        mine = rows["shard"] == number
        counted = {"records": int(mine.sum()), "tokens": int(rows["tokens"][mine].sum())}
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
