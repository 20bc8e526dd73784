"""The command `evaluate`: a trained model in environments, beside the random policy and the expert."""

import argparse
import contextlib
import dataclasses
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gato_model.acting.policy import GatoPolicy
from gato_model.acting.pretrained import load_model
from gato_model.commands.arguments import EPISODES, FIRST_SEED
from gato_model.evaluation.baselines import Demonstrations, RandomPolicy, demonstration
from gato_model.evaluation.comparison import Comparison
from gato_model.evaluation.evaluate import evaluate
from gato_model.evaluation.summary import Summary
from gato_model.evaluation.video import check_video_path, write_video
from gato_model.training.checkpoint import CheckpointError, check_model
from gato_tokenize import Dataset, EpisodeTokenizer, Record
from gato_tokenize.environments.minigrid import IMAGES
from gato_tokenize.environments.recipe import Recipe
from gato_tokenize.output import Output, counted
from gato_tokenize.roles import Roles, size_of
from gato_tokenize.storage.dataset import DatasetTokenizer


@dataclasses.dataclass(frozen=True)
class _Task:
    """A task that is to be played: its environment, its tokens, and what its episodes begin with."""

    name: str
    recipe: Recipe
    tokenizer: EpisodeTokenizer
    prompt: Record | None
    expert: tuple[float | None, float | None]  # return and success, None if unknown


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Run the command and return its exit code: 0, or 2 if it was refused."""
    try:
        with contextlib.redirect_stdout(sys.stderr):  # whatever environments print
            summary = _evaluated(arguments)
    except (ValueError, KeyError, OSError, CheckpointError) as error:
        return output.error(error)
    return output.result(output.drawn(summary.print), summary.to_json())


def _evaluated(arguments: argparse.Namespace) -> Summary:
    seeds = seeds_of(arguments.seeds, arguments.episodes)
    recipes = _recipes(arguments)
    _check(arguments, len(recipes))
    check_model(arguments.checkpoint)
    tokenizer = DatasetTokenizer.load(arguments.checkpoint)
    tasks = [_task(arguments, number, recipe, tokenizer) for number, recipe in enumerate(recipes)]
    model = load_model(arguments.checkpoint, arguments.which)
    return Summary(tuple(_compared(arguments, model, task, seeds) for task in tasks))


def _recipes(arguments: argparse.Namespace) -> list[Recipe]:
    """Make a recipe of each environment with each of the options."""
    roles = Roles.parse(arguments.roles, size_of(arguments.resize) if arguments.resize else None)
    made = [Recipe(env, kwargs, arguments.image, roles) for env in arguments.env for kwargs in arguments.env_options]
    return list(dict.fromkeys(made))


def _check(arguments: argparse.Namespace, tasks: int) -> None:
    """Raise ValueError for options that contradict each other, or the number of tasks."""
    if arguments.max_steps < 0:
        raise ValueError(f"--max-steps must be at least 0, not {arguments.max_steps}")
    if tasks > 1 and (arguments.task or arguments.video):
        raise ValueError(f"--task and --video are for one task, but --env and --env-options give {tasks}")
    if arguments.video:
        check_video_path(arguments.video)
    if arguments.expert_return is not None and arguments.data:
        raise ValueError("--data and --expert-return both give the expert's return: leave one out")
    if arguments.expert_return is not None and len(arguments.expert_return) != tasks:
        given = counted(len(arguments.expert_return), "return")
        raise ValueError(f"--expert-return gives {given} for {counted(tasks, 'task')}: one for each")


def _task(arguments: argparse.Namespace, number: int, recipe: Recipe, tokenizer: DatasetTokenizer) -> _Task:
    name = arguments.task or recipe.task
    if name not in tokenizer.specs:
        hint = " or ".join(_how_recorded(recipe, tokenizer.specs))
        hint = f". This environment was recorded with {hint}" if hint and not arguments.task else ""
        raise KeyError(f"no task {name!r}; tasks: {', '.join(tokenizer.specs)}{hint}")
    prompt = demonstration(Dataset.open(arguments.prompt), name) if arguments.prompt else None
    expert = _demonstrated(arguments.data, name) if arguments.data else (None, None)
    if arguments.expert_return is not None:
        expert = arguments.expert_return[number], None
    return _Task(name, recipe, tokenizer.task(name), prompt, expert)


def _how_recorded(recipe: Recipe, tasks: Iterable[str]) -> list[str]:
    """Find the options with which this environment was recorded: "--image cells --roles observation:image"."""
    found = []
    for task in tasks:
        rest, _, resize = task.partition("/resize=")
        rest, _, roles = rest.partition("/roles=")
        for image in ("", *IMAGES):
            try:
                chosen = Roles.parse(roles, size_of(resize) if resize else None)
                same = Recipe(recipe.environment, recipe.kwargs, image, chosen).task == task
            except ValueError:  # this environment offers no such choice
                continue
            if same:
                given = {"--image": image, "--roles": roles, "--resize": resize}
                words = [f"{name} {shlex.quote(value)}" for name, value in given.items() if value]
                found.append(" ".join(words) or "no --image, --roles or --resize")
                break
    return found


def _demonstrated(datasets: Sequence[Path], task: str) -> tuple[float | None, float | None]:
    """Find the mean return and success of a task's demonstrations in the first dataset that knows the task."""
    opened = [Dataset.open(path) for path in datasets]
    dataset = next((one for one in opened if task in one.tokenizer.specs), opened[0])
    demonstrations = Demonstrations.of(dataset, task)
    return demonstrations.return_, demonstrations.success


def _compared(arguments: argparse.Namespace, model: Any, task: _Task, seeds: list[int]) -> Comparison:
    rows = min(arguments.rows, len(seeds))
    names = ("temperature", "continuous", "context", "seed")
    options = {name: getattr(arguments, name) for name in names}
    policy = GatoPolicy(model, task.tokenizer, task.prompt, rows=rows, **options)
    frames: list[Any] | None = [] if arguments.video else None
    limits = {"max_steps": arguments.max_steps, "stop_at_success": arguments.stop == "success"}
    played = evaluate(policy, task.recipe, seeds, **limits, frames=frames)
    if frames is not None:
        write_video(arguments.video, frames)
    environment = task.recipe.make(seeds[0])
    at_random = RandomPolicy(environment.action_space, rows)
    environment.close()
    random = evaluate(at_random, task.recipe, seeds, **limits)
    return Comparison(task.name, played, random, *task.expert)


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
        raise ValueError(
            f"--seeds {text} gives {counted(len(seeds), 'seed')}, but --episodes is {episodes}: leave one out"
        )
    return seeds
