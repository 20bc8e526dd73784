"""The command `evaluate`: a trained model in an environment, beside the random policy and the expert."""

import argparse
import itertools
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from gato_model.acting.export import check_exportable, export
from gato_model.acting.policy import GatoPolicy
from gato_model.evaluation.baselines import Demonstrations, RandomPolicy
from gato_model.evaluation.comparison import Comparison
from gato_model.evaluation.evaluate import evaluate
from gato_model.evaluation.video import check_video_path, write_video
from gato_model.training.checkpoint import CheckpointError, load
from gato_tokenize import Dataset, Record
from gato_tokenize.environments.recipe import Recipe
from gato_tokenize.roles import Roles, size_of
from gato_tokenize.storage.dataset import DatasetTokenizer

EPISODES = 50  # rollouts a task (section 4)
FIRST_SEED = 1_000_000  # far from the seeds of demonstrations, which count from 0
ROWS = 50
EXIT_REFUSED = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--checkpoint", required=True, type=Path, metavar="RUN", help="folder of a training run")
    add("--which", choices=("best", "last"), default="best", help="checkpoint (default: best)")
    add("--env", required=True, metavar="ID", help="as for gymnasium.make: BabyAI-GoToLocal-v0, or module:Id-v0")
    add("--env-options", default="{}", metavar="JSON", help="more arguments of gymnasium.make, as when it was recorded")
    add("--image", default="", metavar="HOW", help="MiniGrid and BabyAI: symbolic (default), cells or rgb")
    add("--roles", default="", metavar="PATH:ROLE,...", help="what its fields were taken for, as when it was recorded")
    add("--resize", metavar="HxW", help="size of its pictures, as when it was recorded")
    add("--task", metavar="NAME", help="task whose spec to use (default: the one that the options above name)")
    add("--episodes", type=int, metavar="N", help=f"how many (default {EPISODES})")
    add("--seeds", metavar="S", help=f"FIRST (default {FIRST_SEED}), FIRST:COUNT, or a list A,B,C")
    add("--rows", type=int, default=ROWS, metavar="N", help=f"environments at a time (default {ROWS})")
    add(
        "--max-steps",
        type=int,
        default=0,
        metavar="N",
        help="cut episodes after N steps (default: only the environment ends them)",
    )
    add("--temperature", type=float, default=0.0, metavar="T", help="0 takes the likeliest id (default)")
    add("--seed", type=int, default=0, metavar="N", help="added to the episodes' seeds for the draws (default 0)")
    add("--context", choices=("memory", "window"), default="memory", help="beyond the context (default: memory)")
    add("--prompt", type=Path, metavar="DATA", help="dataset whose first episode of the task is the prompt")
    add("--data", type=Path, metavar="DATA", help="dataset whose demonstrations are the expert")
    add("--expert-return", type=float, metavar="R", help="the expert's return, instead of --data")
    add("--video", type=Path, metavar="FILE", help="the first episode as .gif or .mp4")
    add("--export", type=Path, metavar="FOLDER", help="also write the policy as a SavedModel that acts, of one row")
    add("--json", type=Path, metavar="FILE", help="also write all of it as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code: 0, or 2 if it was refused."""
    try:
        comparison = _compared(arguments)
    except (ValueError, KeyError, OSError, CheckpointError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        print(f"gato-model evaluate: {message}", file=sys.stderr)
        return EXIT_REFUSED
    if arguments.json:
        arguments.json.write_text(json.dumps(comparison.to_json(), indent=1) + "\n")
    comparison.print(Console(soft_wrap=True))
    return 0


def _compared(arguments: argparse.Namespace) -> Comparison:
    seeds = seeds_of(arguments.seeds, arguments.episodes)
    if arguments.rows < 1 or arguments.max_steps < 0:
        raise ValueError(f"--rows must be at least 1 and --max-steps 0, not {arguments.rows}, {arguments.max_steps}")
    roles = Roles.parse(arguments.roles, size_of(arguments.resize) if arguments.resize else None)
    recipe = Recipe(arguments.env, arguments.env_options, arguments.image, roles)
    task = arguments.task or recipe.task
    if arguments.video:
        check_video_path(arguments.video)
    if arguments.export:
        check_exportable(arguments.context)
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
