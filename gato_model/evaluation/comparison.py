"""Comparison: a model's episodes beside those of the random policy and the expert."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gato_model.evaluation.evaluate import Evaluation
from gato_model.evaluation.scores import normalised
from gato_tokenize.output import counted


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A model's episodes of a task beside the random policy's and the expert's means, which are None if unknown."""

    task: str
    gato: Evaluation
    random: Evaluation
    expert_return: float | None
    expert_success: float | None

    @property
    def episode_scores(self) -> NDArray[np.float64] | None:
        """Return each episode's normalised score, [n], or None if the expert is unknown or no better than random."""
        random = float(self.random.returns.mean())
        if self.expert_return is None or not self.expert_return > random:
            return None
        return np.array([normalised(one, random, self.expert_return) for one in self.gato.returns.tolist()])

    @property
    def normalised_score(self) -> float | None:
        """Return the mean of the episodes' normalised scores: 0 plays like the random policy, 1 like the expert."""
        return None if self.episode_scores is None else float(self.episode_scores.mean())

    def to_json(self) -> dict[str, Any]:
        """Return all numbers, including every episode's return, success and length."""
        policies = {name: _numbers(played) for name, played in (("gato", self.gato), ("random", self.random))}
        expert = {"return": self.expert_return, "success": self.expert_success}
        milliseconds = {name: 1e3 * self.gato.latency(q) for name, q in (("median_ms", 0.5), ("p95_ms", 0.95))}
        return {
            "task": self.task,
            **policies,
            "expert": expert,
            "normalised_score": self.normalised_score,
            "latency": {"rows": self.gato.rows, **milliseconds},
        }

    def print(self, console: Console) -> None:
        """Print a table of the policies, the normalised score and the time that the policy took."""
        title = f"{self.task}, {counted(len(self.gato.seeds), 'episode')}"
        table = Table("", "return", "success", "steps", title=escape(title))
        for name, played in (("gato", self.gato), ("random", self.random)):
            success = played.success_interval()
            shown = "" if success is None else str(success)
            table.add_row(name, str(played.return_interval()), shown, f"{played.lengths.mean():.1f}")
        table.add_row("expert", _shown(self.expert_return), _shown(self.expert_success), "")
        console.print(table)
        if self.normalised_score is not None:
            console.print(f"normalised score {self.normalised_score:.3f} (random 0, expert 1)")
        elif self.expert_return is not None:
            console.print("no normalised score: the expert's return is not above the random policy's")
        low, high = 1e3 * self.gato.latency(0.5), 1e3 * self.gato.latency(0.95)
        together = counted(self.gato.rows, "environment")
        console.print(f"an action for {together} at a time: median {low:.1f} ms, p95 {high:.1f} ms")
        console.print("brackets: 95% bootstrap intervals over the episodes")


def _numbers(played: Evaluation) -> dict[str, Any]:
    success = played.success_interval()
    return {
        "return": dataclasses.asdict(played.return_interval()),
        "success": None if success is None else dataclasses.asdict(success),
        "seeds": played.seeds.tolist(),
        "returns": played.returns.tolist(),
        "successes": played.successes.tolist(),
        "lengths": played.lengths.tolist(),
    }


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
