"""Fine-tune a model on a few demonstrations of levels that no recipe has, beside the same training from nothing.

    python -m recipes.transfer RUN --out results/transfer.jsonl [--episodes 50] [--work runs/transfer]

How many demonstrations does a new task take (section 5.2)? A line of JSON for each level, number of demonstrations and
beginning: `model` begins with the weights of RUN, `nothing` with those of chance, and both train for as many steps of
as many tokens. Datasets and runs stay in --work; the same command goes on with what is not in the file.
"""

import argparse
import dataclasses
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gato_model.acting.policy import GatoPolicy
from gato_model.acting.pretrained import load_model
from gato_model.config import GatoConfig
from gato_model.shipped import model_path
from gato_model.training.checkpoint import CONFIG
from gato_tokenize.storage.dataset import DatasetTokenizer
from pipelines.sources import open_source
from pipelines.sources.rollouts.source import RolloutSource
from recipes.commands import typed
from recipes.scores import FIRST_SEED, by_model, of_expert_and_chance, read_lines, way

LEVELS = "BabyAI-UnlockPickup-v0", "BabyAI-GoToSeqS5R2-v0"
DEMONSTRATIONS = 10, 50, 200
BEGINNINGS = "model", "nothing"
STEPS, BATCH_SIZE = 100, 16
WORK = Path("runs/transfer")
NOT_SET = "vocabulary_size", "local_positions", "sequence_length"  # two follow the data, one has an option of its own


def source_of(level: str, demonstrations: int) -> str:
    """The expert's first episodes of a level: those of more demonstrations begin with those of fewer."""
    return f"rollouts:{level}?image=cells&episodes={demonstrations or DEMONSTRATIONS[0]}&seed=300000"


def convert_words(level: str, demonstrations: int, dataset: Path) -> list[str]:
    """The arguments of `gato-data` that write the demonstrations to a dataset."""
    return ["convert", source_of(level, demonstrations), "--out", str(dataset)]


def train_words(run: Path, beginning: str, dataset: Path, out: Path) -> list[str]:
    """The arguments of `gato-model` that train from a beginning a model with the sizes of the run's."""
    config = GatoConfig.from_json((model_path(run) / CONFIG).read_text("utf-8"))
    sizes = {name: size for name, size in dataclasses.asdict(config).items() if name not in NOT_SET}
    begin = ["--fine-tune", str(run)] if beginning == "model" else ["--ordered-start", "--weight-decay", "0"]
    chosen = {"dropout": 0} if beginning == "model" else {**sizes, "dropout": 0}
    return [
        "train", *begin, "--data", str(dataset), "--out", str(out), "--set",
        *(f"{name}={size}" for name, size in chosen.items()), "--sequence-length", str(config.sequence_length),
        "--steps", str(STEPS), "--batch-size", str(BATCH_SIZE), "--learning-rate", "1e-3",
        "--warmup-steps", str(STEPS // 10), "--final-rate", "0", "--smoothing", "0.3", "--prompt-share", "0",
        "--dtype", "mixed_bfloat16",
    ]  # fmt: skip


def made(run: Path, level: str, demonstrations: int, beginning: str, work: Path) -> tuple[Path, Path]:
    """Convert and train what is not there yet. Returns the folders of the dataset and of the model."""
    dataset = work / level / f"episodes_{demonstrations or DEMONSTRATIONS[0]}" / "1.0.0"
    typed("pipelines", convert_words(level, demonstrations, dataset))
    if not demonstrations:
        return dataset, run
    out = work / level / f"{demonstrations}-from-{beginning}"
    typed("gato_model", train_words(run, beginning, dataset, out))
    return dataset, out


def points(levels: Sequence[str]) -> Iterator[tuple[str, int, str]]:
    """Yield (level, demonstrations, beginning): the model as it is, then both beginnings for each number."""
    for level in levels:
        yield level, 0, "model"
        yield from ((level, demonstrations, beginning) for demonstrations in DEMONSTRATIONS for beginning in BEGINNINGS)


def played(run: Path, point: tuple[str, int, str], work: Path, seeds: range, before: Sequence[Any]) -> dict[str, Any]:
    """Make what a point needs, and play it. before: the lines of other points, whose experts need not play again."""
    level, demonstrations, beginning = point
    dataset, model = made(run, level, demonstrations, beginning, work)
    source = open_source(source_of(level, demonstrations))
    assert isinstance(source, RolloutSource)
    tokenizer = DatasetTokenizer.load(dataset).task(source.task)  # the model as it is does not know the level
    weights = load_model(model, "last" if demonstrations else "best")
    policy = GatoPolicy(weights, tokenizer, rows=min(50, len(seeds)), temperature=1.0)
    return {
        "task": source.task,
        "demonstrations": demonstrations,
        "beginning": beginning,
        "steps": STEPS if demonstrations else 0,
        "seeds": [seeds.start, seeds.stop],
        "way": way(source.rollout),
        "gato": by_model(policy, source.rollout, seeds),
        **of_expert_and_chance(source.rollout, seeds, before),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m recipes.transfer", description=__doc__)
    parser.add_argument("run", type=Path, help="a training run's folder, an export, or `demo`")
    parser.add_argument("levels", nargs="*", metavar="LEVEL", help=f"(default: {' '.join(LEVELS)})")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="a line of JSON for each point")
    parser.add_argument("--work", type=Path, default=WORK, metavar="DIR", help=f"(default {WORK})")
    parser.add_argument("--episodes", type=int, default=50, metavar="N", help="of each point (default 50)")
    arguments = parser.parse_intermixed_args()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of every model that is compiled after the first
    seeds = range(FIRST_SEED, FIRST_SEED + arguments.episodes)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.touch()
    lines = read_lines(arguments.out)
    there = {(line["level"], line["demonstrations"], line["beginning"]) for line in lines}
    for point in points(arguments.levels or LEVELS):
        if point in there:
            continue
        line = {"level": point[0], **played(arguments.run, point, arguments.work, seeds, lines)}
        lines.append(line)
        with arguments.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        success = np.mean(line["gato"]["successes"])
        print(f"{point[0]}, {point[1]} demonstrations, from {point[2]}: success {success:.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
