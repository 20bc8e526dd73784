"""Baselines of a policy: actions at random, and the demonstrations of a dataset."""

import copy
import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from gato_tokenize import Dataset, Record
from gato_tokenize.storage.episode_list import EPISODES, read_lines


class RandomPolicy:
    """Actions drawn by an action space, with the methods of `GatoPolicy` that evaluation needs."""

    def __init__(self, action_space: Any, rows: int = 1) -> None:
        self.rows = rows
        self._spaces = [copy.deepcopy(action_space) for _ in range(rows)]

    def reset(self, rows: Sequence[int], seeds: Sequence[int]) -> None:
        for row, seed in zip(rows, seeds, strict=True):
            self._spaces[row].seed(int(seed))

    def act_many(self, observations: Sequence[Any], rows: Sequence[int]) -> list[Any]:
        return [self._spaces[row].sample() for row in rows]


@dataclasses.dataclass(frozen=True)
class Demonstrations:
    """The episodes of a task in a dataset that no random policy played: how many, their mean return and success;
    None where none of them knows."""

    episodes: int
    return_: float | None
    success: float | None

    @classmethod
    def of(cls, dataset: Dataset, task: str) -> "Demonstrations":
        """Raises ValueError where the dataset has no such episode of the task."""
        episodes = (line for line in read_lines(dataset.path / EPISODES) if line["segment_index"] == 0)
        expert = [line for line in episodes if line["task"] == task and line["agent_id"] != "random"]
        if not expert:
            raise ValueError(
                f"{dataset.path} has no demonstrations of {task}; its tasks: {', '.join(dataset.tokenizer.specs)}"
            )
        returns = [line["return"] for line in expert if line["return"] is not None]
        successes = [line["success"] for line in expert if line["success"] >= 0]
        return cls(len(expert), _mean(returns), _mean(successes))


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def demonstration(dataset: Dataset, task: str) -> Record:
    """Find a dataset's first episode of a task, or its first segment. Raises ValueError if there is none."""
    records = (record for split in dataset.splits for record in dataset.records(split))
    found = next(itertools.filterfalse(lambda record: record.metadata.task != task, records), None)
    if found is None:
        raise ValueError(f"{dataset.path} has no episode of {task}; tasks: {', '.join(dataset.tokenizer.specs)}")
    return found
