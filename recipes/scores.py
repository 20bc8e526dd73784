"""Play a trained model, its experts and chance in every environment of the recipes, on seeds that no recipe uses.

    python -m recipes.scores RUN --out results/scores.jsonl [--episodes 50] [RECIPE ...]

One line a task is added to the file as soon as it is played; the same command goes on with the tasks that are not in
it. A score is by success where the environment tells success, else by return, over the same number of steps for all
three: 0 plays like chance, 1 like the expert.
"""

import argparse
import contextlib
import dataclasses
import json
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gato_model.acting.policy import GatoPolicy
from gato_model.acting.pretrained import load_model
from gato_model.evaluation.evaluate import Evaluation, evaluate
from gato_model.evaluation.scores import Interval, mean_interval
from gato_model.shipped import model_path
from gato_tokenize.environments.families import Ending
from gato_tokenize.storage.dataset import DatasetTokenizer
from pipelines.sources import open_source
from pipelines.sources.rollouts.rollout import Rollout, play
from pipelines.sources.rollouts.source import RolloutSource
from recipes.make_corpus import QUICKEST_FIRST, read_recipe

FIRST_SEED = 1_000_000  # those of the recipes are far below
FIRST_OF_CHOICES = 2_000_000  # no choice is made on the seeds that are reported

# How the model acts, chosen on validation seeds. Where the observation says all, an action is told from it alone.
BY_OBSERVATION = {"continuous": "mean", "context": "timestep"}
BY_MEMORY = {"continuous": "draw", "context": "memory"}
ACTING = {"babyai": BY_MEMORY, "sokoban": BY_MEMORY}  # by the recipe


def rollouts(names: list[str]) -> Iterator[tuple[str, Rollout]]:
    """Yield (recipe's name, rollout) for each task that the recipes play, as the first of them plays it."""
    seen = set()
    for name in names:
        for text in read_recipe(name)["sources"]:
            source = open_source(text)
            if isinstance(source, RolloutSource) and source.task not in seen:
                seen.add(source.task)
                yield name, source.rollout


def played(rollout: Rollout, seeds: range) -> dict[str, Any]:
    """Play a rollout's own policy for each seed."""
    with contextlib.redirect_stdout(sys.stderr):  # whatever environments print
        return _numbers(rollout, [play(rollout, seed).ending for seed in seeds])


def by_model(policy: GatoPolicy, rollout: Rollout, seeds: range) -> dict[str, Any]:
    """Play the model for each seed."""
    found: Evaluation = evaluate(
        policy, rollout.recipe, seeds, max_steps=rollout.max_steps, stop_at_success=rollout.stop_at_success
    )
    success = None if (found.successes < 0).any() else found.successes.astype(float).tolist()
    return {"returns": found.returns.tolist(), "successes": success}


def _numbers(rollout: Rollout, endings: list[Ending]) -> dict[str, Any]:
    judged = [rollout.recipe.success(ending) for ending in endings]
    success = None if None in judged else [float(bool(one)) for one in judged]
    return {"returns": [ending.return_ for ending in endings], "successes": success}


def of_expert_and_chance(rollout: Rollout, seeds: range, before: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Play the expert and a random policy, unless one of `before`, lines of scores, holds these very episodes."""
    for line in before:
        first, stop = line["seeds"]
        if (
            line["task"] == rollout.recipe.task
            and line.get("way") == way(rollout)
            and first == seeds.start <= seeds.stop <= stop
        ):
            return {name: _first(line[name], len(seeds)) for name in ("expert", "random")}
    quiet = dataclasses.replace(rollout, noise=0.0)
    return {"expert": played(quiet, seeds), "random": played(dataclasses.replace(quiet, policy="random"), seeds)}


def way(rollout: Rollout) -> dict[str, Any]:
    """Return what the expert's and chance's episodes depend on, beside the task and the seeds."""
    return {"expert": rollout.policy, "max_steps": rollout.max_steps, "stop_at_success": rollout.stop_at_success}


def _first(numbers: dict[str, Any], count: int) -> dict[str, Any]:
    return {name: None if values is None else values[:count] for name, values in numbers.items()}


def score(task: dict[str, Any]) -> tuple[list[float], str] | None:
    """Compute the normalised score of each of the model's episodes, and by what: "success" or "return".

    None where the expert is no better than chance on these seeds.
    """
    by = "returns" if task["gato"]["successes"] is None else "successes"
    chance, expert = (float(np.mean(task[name][by])) for name in ("random", "expert"))
    if not expert > chance:
        return None
    return [(one - chance) / (expert - chance) for one in task["gato"][by]], by.removesuffix("s").removesuffix("e")


@dataclasses.dataclass(frozen=True)
class TaskScore:
    """A task's normalised scores: 0 plays like chance, 1 like the expert. values is None where there is no score."""

    domain: str
    task: str
    by: str  # "success" or "return"
    values: list[float] | None
    random: float
    expert: float
    gato: float

    @property
    def interval(self) -> Interval:
        assert self.values is not None
        return mean_interval(self.values)


def read_scores(path: Path) -> list[TaskScore]:
    """Read the lines of `recipes.scores`."""
    return [_task_score(line) for line in read_lines(path)]


def _task_score(line: dict[str, Any]) -> TaskScore:
    found = score(line)
    key = "returns" if line["gato"]["successes"] is None else "successes"
    means = {name: float(np.mean(line[name][key])) for name in ("random", "expert", "gato")}
    by = "success" if key == "successes" else "return"
    return TaskScore(
        line["recipe"], line["task"], by, None if found is None else [round(one, 6) for one in found[0]], **means
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m recipes.scores", description=__doc__)
    parser.add_argument("run", type=Path, help="a training run's folder, or an export")
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help="(default: all)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="a line of JSON for each task")
    parser.add_argument("--episodes", type=int, default=50, metavar="N", help="of each task (default 50)")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED, metavar="N")
    parser.add_argument("--temperature", type=float, default=1.0, metavar="T")
    parser.add_argument("--continuous", choices=("draw", "mean"), help="(default: by the recipe)")
    parser.add_argument("--context", choices=("memory", "timestep"), help="(default: by the recipe)")
    parser.add_argument("--which", choices=("best", "last"), default="best")
    parser.add_argument(
        "--expert-and-chance",
        type=Path,
        metavar="FILE",
        help="scores of another model: what they have is not played again",
    )
    parser.add_argument("--tasks", nargs="+", metavar="NAME", help="these tasks alone")
    arguments = parser.parse_intermixed_args()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.episodes)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.touch()
    there = {line["task"] for line in read_lines(arguments.out)}
    before = read_lines(arguments.expert_and_chance) if arguments.expert_and_chance else []
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of every task that is compiled after the first
    tokenizer, model = DatasetTokenizer.load(model_path(arguments.run)), load_model(arguments.run, arguments.which)
    given = {name: value for name in ("continuous", "context") if (value := getattr(arguments, name))}
    for recipe, rollout in rollouts(arguments.recipes or list(QUICKEST_FIRST)):
        task = rollout.recipe.task
        wanted = not arguments.tasks or task in arguments.tasks
        if not wanted or task in there or task not in tokenizer.specs:
            continue
        began = time.monotonic()
        acting = {"rows": min(50, arguments.episodes), "temperature": arguments.temperature}
        acting |= ACTING.get(recipe, BY_OBSERVATION) | given
        policy = GatoPolicy(model, tokenizer.task(task), **acting)
        line = {
            "recipe": recipe,
            "task": task,
            "seeds": [seeds.start, seeds.stop],
            "way": way(rollout),
            "acting": {**acting, "which": arguments.which},
            "gato": by_model(policy, rollout, seeds),
            **of_expert_and_chance(rollout, seeds, before),
        }
        with arguments.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(f"{_shown(line)}, {time.monotonic() - began:.0f} s", flush=True)
    return 0


def read_lines(file: Path) -> list[dict[str, Any]]:
    """Read a file of a JSON object a line."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _shown(task: dict[str, Any]) -> str:
    found = score(task)
    if found is None:
        return f"{task['task']}: the expert is no better than chance on these seeds"
    return f"{task['task']}: {mean_interval(found[0])} of the expert's {found[1]}"


if __name__ == "__main__":
    sys.exit(main())
