"""Summary: a model's scores over several tasks (Reed et al. 2022, section 4.1)."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from gato_model.evaluation.comparison import Comparison
from gato_model.evaluation.scores import Interval, interquartile_mean, mean_of_tasks
from gato_tokenize.output import counted

HALF = 0.5  # of the expert's score: the paper counts the tasks above it


def above_half(scores: Sequence[float] | NDArray[np.float64]) -> bool:
    """Return whether the mean of a task's scores is above half of the expert's.

    Half itself is not above it, also where the mean is half but for the last digits of its floats.

    >>> above_half([0.1, 0.2, 1.2]), above_half([0.7142861, 0.2857142]), above_half([0.4, 0.61])
    (False, False, True)
    """
    return round(float(np.mean(scores)), 6) > HALF


@dataclasses.dataclass(frozen=True)
class Summary:
    """The comparisons of the tasks that a model was evaluated in. Scores are normalised, each by its own task."""

    comparisons: tuple[Comparison, ...]

    @property
    def scores(self) -> dict[str, Any]:
        """Return {task: float[n], its episodes' scores}, without the tasks that have none."""
        found = {one.task: one.episode_scores for one in self.comparisons}
        return {task: scores for task, scores in found.items() if scores is not None}

    @property
    def above_half(self) -> int:
        """Count the tasks whose mean score is above half of the expert's."""
        return sum(above_half(scores) for scores in self.scores.values())

    @property
    def intervals(self) -> dict[str, Interval]:
        """Return the interquartile mean and the mean over the scored tasks; nothing if there are none."""
        scores = list(self.scores.values())
        if not scores:
            return {}
        return {"interquartile_mean": interquartile_mean(scores), "mean": mean_of_tasks(scores)}

    def to_json(self) -> dict[str, Any]:
        """Return all numbers of each task and, of several tasks, those over all."""
        tasks = [one.to_json() for one in self.comparisons]
        if len(tasks) < 2:
            return {"tasks": tasks, "over_tasks": None}
        over = {name: dataclasses.asdict(interval) for name, interval in self.intervals.items()}
        counts = {"scored": len(self.scores), "above_half_of_expert": self.above_half}
        return {"tasks": tasks, "over_tasks": {**counts, **over}}

    def print(self, console: Console) -> None:
        """Print a table of each task, and of several tasks what holds over all of them."""
        for one in self.comparisons:
            one.print(console)
        if len(self.comparisons) > 1:
            self._print_over_tasks(console)

    def _print_over_tasks(self, console: Console) -> None:
        known, count = len(self.scores), len(self.comparisons)
        if not known:
            console.print("no task has a normalised score: give --data or --expert-return", markup=False)
            return
        names = {"interquartile_mean": "interquartile mean", "mean": "mean of tasks"}
        rows = [(names[name], str(interval)) for name, interval in self.intervals.items()]
        rows.append(("tasks above half of the expert", f"{self.above_half} of {known}"))
        left_out = "" if known == count else f" ({count - known} without a score are left out)"
        table = Table("", "normalised score", title=f"over {counted(known, 'task')}{left_out}")
        for row in rows:
            table.add_row(*row)
        console.print(table)
        console.print("brackets: 95% bootstrap intervals, stratified by task", markup=False)
