"""The command `evaluate`: a trained model in an environment, beside the random policy and the expert."""

import argparse
import itertools
import json
import sys
from typing import Any

from rich.console import Console

from gato_model.acting.export import check_exportable, export
from gato_model.acting.policy import GatoPolicy
from gato_model.commands.arguments import EPISODES, FIRST_SEED
from gato_model.evaluation.baselines import Demonstrations, RandomPolicy
from gato_model.evaluation.comparison import Comparison
from gato_model.evaluation.evaluate import evaluate
from gato_model.evaluation.video import check_video_path, write_video
from gato_model.training.checkpoint import CheckpointError, check_run, load
from gato_tokenize import Dataset, Record
from gato_tokenize.environments.recipe import Recipe
from gato_tokenize.roles import Roles, size_of
from gato_tokenize.storage.dataset import DatasetTokenizer

EXIT_REFUSED = 2


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code: 0, or 2 if it was refused."""
    try:
        comparison = _compared(arguments)
    except (ValueError, KeyError, OSError, CheckpointError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        print(f"gato-model evaluate: {message}", file=sys.stderr)
        return EXIT_REFUSED
    if arguments.json:
        arguments.json.write_text(json.dumps(comparison.to_json(), indent=1) + "\n", encoding="utf-8")
    comparison.print(Console(soft_wrap=True))
    return 0


def _compared(arguments: argparse.Namespace) -> Comparison:
    seeds = seeds_of(arguments.seeds, arguments.episodes)
    if arguments.max_steps < 0:
        raise ValueError(f"--max-steps must be at least 0, not {arguments.max_steps}")
    roles = Roles.parse(arguments.roles, size_of(arguments.resize) if arguments.resize else None)
    recipe = Recipe(arguments.env, arguments.env_options, arguments.image, roles)
    task = arguments.task or recipe.task
    if arguments.video:
        check_video_path(arguments.video)
    if arguments.export:
        check_exportable(arguments.context, arguments.export)
    check_run(arguments.checkpoint)
    tokenizer = DatasetTokenizer.load(arguments.checkpoint).task(task)
    expert = _expert(arguments, task)
    prompt = demonstration(Dataset.open(arguments.prompt), task) if arguments.prompt else None
    model = load(arguments.checkpoint, arguments.which)
    options = {"temperature": arguments.temperature, "context": arguments.context}
    rows = min(arguments.rows, len(seeds))
    policy = GatoPolicy(model, tokenizer, prompt, rows=rows, seed=arguments.seed, **options)
    frames: list[Any] | None = [] if arguments.video else None
    played = evaluate(policy, recipe, seeds, max_steps=arguments.max_steps, frames=frames)
    if frames is not None:
        write_video(arguments.video, frames)
    if arguments.export:
        export(GatoPolicy(model, tokenizer, prompt, seed=arguments.seed, **options), arguments.export)
    environment = recipe.make(seeds[0])
    at_random = RandomPolicy(environment.action_space, rows)
    environment.close()
    random = evaluate(at_random, recipe, seeds, max_steps=arguments.max_steps)
    return Comparison(task, played, random, expert[0], expert[1])


def seeds_of(text: str | None, episodes: int | None) -> list[int]:
    """Read the seeds from the command's --seeds and --episodes.

    >>> seeds_of("7", 3), seeds_of("7:2", None), seeds_of("5,9", None), len(seeds_of(None, None))
    ([7, 8, 9], [7, 8], [5, 9], 50)

    Raises ValueError if they contradict each other, or are not numbers in [0, 2^31).
    """
    first, colon, count = (str(FIRST_SEED) if text is None else text).partition(":")
    try:
        given = [int(word) for word in first.split(",")]
        number = int(count) if colon else episodes
    except ValueError as error:
        raise ValueError(f"--seeds is FIRST, FIRST:COUNT or A,B,C, not {text!r}") from error
    if len(given) == 1 and ("," not in first):
        seeds = list(range(given[0], given[0] + (EPISODES if number is None else number)))
    else:
        seeds = given
    if not seeds or min(seeds) < 0 or max(seeds) >= 2**31 or (colon and "," in first):
        raise ValueError(f"--seeds {text} and --episodes {episodes} give no seeds in [0, 2^31)")
    if episodes is not None and len(seeds) != episodes:
        raise ValueError(f"--seeds {text} gives {len(seeds)} seeds, but --episodes is {episodes}: leave one out")
    return seeds


def _expert(arguments: argparse.Namespace, task: str) -> tuple[float | None, float | None]:
    """Find the expert's (return, success), None if unknown."""
    if arguments.data and arguments.expert_return is not None:
        raise ValueError("--data and --expert-return both give the expert's return: leave one out")
    if not arguments.data:
        return arguments.expert_return, None
    demonstrations = Demonstrations.of(Dataset.open(arguments.data), task)
    return demonstrations.return_, demonstrations.success


def demonstration(dataset: Dataset, task: str) -> Record:
    """Find a dataset's first episode of a task, or its first segment. Raises ValueError if there is none."""
    records = (record for split in dataset.splits for record in dataset.records(split))
    found = next(itertools.filterfalse(lambda record: record.metadata.task != task, records), None)
    if found is None:
        raise ValueError(f"{dataset.path} has no episode of {task}; tasks: {', '.join(dataset.tokenizer.specs)}")
    return found
