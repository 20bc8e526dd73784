"""The table of recipes/README.md: what each task of a corpus holds, and how well its expert and chance play it.

python -m recipes.table corpus > table.md
"""

import argparse
import collections
import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gato_tokenize import Dataset
from gato_tokenize.storage.episode_list import EPISODES, read_lines
from pipelines.sources import open_source
from pipelines.sources.rollouts.rollout import play
from pipelines.sources.rollouts.source import RolloutSource
from recipes.make_corpus import QUICKEST_FIRST, SECONDS, read_recipe

PAPER = {  # the rows of the paper's table 1 for which a recipe stands
    "atari": "ALE Atari", "babyai": "BabyAI", "dm_control": "DM Control Suite", "meta_world": "Meta-World",
    "procgen": "Procgen", "sokoban": "Sokoban", "questions": "VQAv2, captions", "text": "MassiveText",
}  # fmt: skip
FIRST_SEED = 1_000_000  # of random play: far from the seeds of the corpus
HEAD = "| task | expert | random | success | episodes | tokens | stands for |\n|---|---|---|---|---|---|---|"


@dataclasses.dataclass
class Task:
    """What a dataset's episode list says of one task."""

    returns: list[float] = dataclasses.field(default_factory=list)
    successes: list[int] = dataclasses.field(default_factory=list)
    episodes: int = 0
    tokens: int = 0


def tasks_of(dataset: Dataset) -> dict[str, Task]:
    tasks: dict[str, Task] = collections.defaultdict(Task)
    for line in read_lines(dataset.path / EPISODES):
        task = tasks[line["task"]]
        task.tokens += line["tokens"]
        if line["segment_index"] == 0:
            task.episodes += 1
            task.returns += [] if line["return"] is None else [line["return"]]
            task.successes += [line["success"]] if line["success"] >= 0 else []
    return tasks


def at_random(source: RolloutSource, episodes: int) -> tuple[float, float | None]:
    """Play episodes of a source's environment at random: (mean return, success or None)."""
    rollout = dataclasses.replace(source.rollout, policy="random", noise=0.0)
    with contextlib.redirect_stdout(sys.stderr):  # whatever environments print
        played = [play(rollout, FIRST_SEED + number).ending for number in range(episodes)]
    judged = [rollout.recipe.success(ending) for ending in played]
    success = None if None in judged else float(np.mean([bool(one) for one in judged]))
    return float(np.mean([ending.return_ for ending in played])), success


def rows(name: str, corpus: Path, episodes: int) -> Iterator[str]:
    recipe = read_recipe(name)
    dataset = Dataset.open(corpus / name / "1.0.0")
    tasks = tasks_of(dataset)
    played = {}
    for text in recipe["sources"]:
        source = open_source(text)
        if isinstance(source, RolloutSource):
            played[source.task] = at_random(source, episodes)
    for task, found in tasks.items():
        chance, luck = played.get(task, (None, None))
        success = "" if luck is None else f"{np.mean(found.successes):.2f} ({luck:.2f})"
        numbers = [_shown(np.mean(found.returns)) if played.get(task) else "", _shown(chance), success]
        yield f"| {task} | {' | '.join(numbers)} | {found.episodes:,} | {found.tokens:,} | {PAPER.get(name, '')} |"


def _shown(number: Any) -> str:
    return "" if number is None else f"{number:,.4g}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m recipes.table", description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help="(default: those that are there)")
    parser.add_argument("--episodes", type=int, default=20, help="of random play, for each task (default 20)")
    arguments = parser.parse_intermixed_args()
    there = [name for name in QUICKEST_FIRST if (arguments.corpus / name / "1.0.0").exists()]
    seconds = arguments.corpus / SECONDS
    took = json.loads(seconds.read_text()) if seconds.exists() else {}
    for name in arguments.recipes or there:
        made = f": made in {took[name]:,} s" if name in took else ""
        print(f"\n## {name}{made}\n\n{HEAD}", flush=True)
        for row in rows(name, arguments.corpus, arguments.episodes):
            print(row, flush=True)


if __name__ == "__main__":
    main()
