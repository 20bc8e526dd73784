"""Train one tiny model for each choice of data, training and acting, and see what it is worth.

    python -m recipes.ablations --out results/ablations.jsonl [--seeds 2] [--work runs/ablations] [LEVER ...]

Reads ablations.toml: a base, and levers that each change one thing of it. A line of JSON is added for each lever and
training seed: the loss on held-out actions, and the scores of 20 episodes a task on seeds on which choices may be made.
Datasets and runs stay in --work; the same command goes on with what is not in the file.
"""

import argparse
import dataclasses
import json
import logging
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from gato_model.acting.policy import GatoPolicy
from gato_model.acting.pretrained import load_model
from gato_model.training.run_log import read_metrics
from gato_tokenize.storage.dataset import DatasetTokenizer
from pipelines.sources import open_source
from pipelines.sources.rollouts.source import RolloutSource
from recipes.commands import typed
from recipes.scores import FIRST_OF_CHOICES, by_model, of_expert_and_chance, read_lines, score, way

CONFIG = Path(__file__).with_suffix(".toml")
BASE = "base"
WORK = Path("runs/ablations")
Ways = Mapping[str, Any]  # {"sources", "convert", "train", "act"}: what the commands and the policy are given


@dataclasses.dataclass(frozen=True)
class Lever:
    """The base, or one change of it."""

    name: str
    changes: Ways  # {} for the base
    ways: Ways  # of the base, with the changes

    def datasets(self, work: Path) -> dict[str, Path]:
        """Tell the datasets that it trains on, by source: its own where it changes them, else those of the base."""
        changed = self.ways["sources"] if "convert" in self.changes else self.changes.get("sources", {})
        return {
            source: work / _folder(self.name if source in changed else BASE) / "data" / source / "1.0.0"
            for source in self.ways["sources"]
        }

    def run(self, seed: int, work: Path) -> Path:
        """Tell the training run that it plays with: the base's, if it changes nothing but how a model acts."""
        return work / _folder(BASE if set(self.changes) <= {"act"} else self.name) / f"seed_{seed}"


def read_levers() -> dict[str, Lever]:
    """Read ablations.toml: {name: lever}, the base first."""
    config = tomllib.loads(CONFIG.read_text(encoding="utf-8"))
    changes = {BASE: {}, **config["levers"]}
    return {name: Lever(name, change, _merged(config["base"], change)) for name, change in changes.items()}


def _merged(base: Ways, change: Ways) -> dict[str, Any]:
    tables = {name: _merged(base.get(name, {}), value) for name, value in change.items() if isinstance(value, dict)}
    return {**base, **change, **tables}


def points(names: Sequence[str], seeds: int) -> Iterator[tuple[str, int]]:
    """Yield (lever, training seed): every lever with the first seed, then with the next, so that a part says much."""
    yield from ((name, seed) for seed in range(seeds) for name in names)


def _folder(name: str) -> str:
    """Make a name of a folder.

    >>> _folder("plain bins from -10 to 10, no mu-law")
    'plain_bins_from_10_to_10_no_mu_law'
    """
    return re.sub(r"\W+", "_", name).strip("_")


def made(lever: Lever, seed: int, work: Path) -> tuple[dict[str, Path], Path]:
    """Convert and train what is not there yet. Returns the datasets by source, and the run."""
    paths, run = lever.datasets(work), lever.run(seed, work)
    for source, path in paths.items():
        if not path.exists():
            options = {**lever.ways["convert"], "sources": [lever.ways["sources"][source]], "out": str(path)}
            typed("pipelines", ["convert", "--config", str(_configuration(path.parent.with_suffix(".toml"), options))])
    options = {**lever.ways["train"], "data": [str(path) for path in paths.values()], "out": str(run), "seed": seed}
    typed("gato_model", ["train", "--config", str(_configuration(run.with_suffix(".toml"), options))])
    return paths, run


def _configuration(path: Path, options: Ways) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(tomli_w.dumps(options), encoding="utf-8")
    return path


def measured(lever: Lever, seed: int, work: Path, seeds: range, before: Sequence[Any]) -> dict[str, Any]:
    """Make what a lever and a training seed need, and play it on `seeds`.

    before: other lines, whose experts need not play these episodes again.
    """
    paths, run = made(lever, seed, work)
    model = load_model(run, "last")
    known = [task for line in before for task in line["tasks"]]
    tasks = []
    for source, text in read_levers()[BASE].ways["sources"].items():  # whatever it learned from, it plays the base's
        opened = open_source(text)
        assert isinstance(opened, RolloutSource)
        acting = lever.ways["act"][source]
        policy = GatoPolicy(model, DatasetTokenizer.load(paths[source]).task(opened.task), rows=len(seeds), **acting)
        tasks.append(
            {
                "source": source,
                "task": opened.task,
                "seeds": [seeds.start, seeds.stop],
                "way": way(opened.rollout),
                "acting": acting,
                "gato": by_model(policy, opened.rollout, seeds),
                **of_expert_and_chance(opened.rollout, seeds, known),
            }
        )
    return {"lever": lever.name, "seed": seed, "held_out": held_out(run), "tasks": tasks}


def held_out(run: Path) -> dict[str, float]:
    """Read the last held-out loss of actions, nats a token: {"discrete": ..., "continuous": ...}."""
    last: dict[str, float] = {}
    for line in read_metrics(run):
        last.update((key, value) for key, value in line.items() if key.startswith("held_out/"))
    found = {}
    for kind in ("discrete", "continuous"):
        rows = [key.removesuffix("/loss") for key in last if key.endswith(f"/{kind}_action/loss")]
        losses, tokens = ([last[f"{row}/{name}"] for row in rows] for name in ("loss", "tokens"))
        found[kind] = float(np.average(losses, weights=tokens))
    return found


def mean_score(task: dict[str, Any]) -> float:
    """Compute the mean normalised score of a line's task: 0 plays like chance, 1 like the expert.

    Raises ValueError if the expert is no better than chance in these episodes.
    """
    found = score(task)
    if found is None:
        raise ValueError(f"the expert of {task['task']} is no better than chance: play more --episodes")
    return float(np.mean(found[0]))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m recipes.ablations", description=__doc__)
    parser.add_argument("levers", nargs="*", metavar="LEVER", help="(default: the base and all of ablations.toml)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="a line of JSON for each point")
    parser.add_argument("--seeds", type=int, default=2, metavar="N", help="trainings of each lever (default 2)")
    parser.add_argument("--work", type=Path, default=WORK, metavar="DIR", help=f"(default {WORK})")
    parser.add_argument("--episodes", type=int, default=20, metavar="N", help="of each task (default 20)")
    arguments = parser.parse_intermixed_args()
    levers = read_levers()
    unknown = [name for name in arguments.levers if name not in levers]
    if unknown:
        parser.error(f"no lever {unknown[0]!r}; levers: {', '.join(map(repr, levers))}")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of every model that is compiled after the first
    seeds = range(FIRST_OF_CHOICES, FIRST_OF_CHOICES + arguments.episodes)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.touch()
    lines = read_lines(arguments.out)
    there = {(line["lever"], line["seed"]) for line in lines}
    for name, seed in points(arguments.levers or list(levers), arguments.seeds):
        if (name, seed) in there:
            continue
        line = measured(levers[name], seed, arguments.work, seeds, lines)
        scores = "  ".join(f"{task['source']} {mean_score(task):.2f}" for task in line["tasks"])
        lines.append(line)
        with arguments.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(f"{name}, seed {seed}: {scores}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
