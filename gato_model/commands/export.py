"""The command `export`: a run's model in a folder that others can read, and on request a SavedModel that acts."""

import argparse
from pathlib import Path

from gato_model.acting.policy import GatoPolicy
from gato_model.acting.pretrained import check_new, load_model, save_pretrained
from gato_model.acting.saved_model import check_saveable, save_policy
from gato_model.evaluation.baselines import demonstration
from gato_model.training.checkpoint import CheckpointError, check_model
from gato_tokenize import Dataset, EpisodeTokenizer
from gato_tokenize.output import Output, printable_lines
from gato_tokenize.storage.dataset import DatasetTokenizer

SAVED_MODEL = "saved_model"  # folder inside an export


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Run the command and return its exit code: 0, or 2 if it was refused."""
    try:
        return _export(arguments, output)
    except (ValueError, KeyError, OSError, CheckpointError) as error:
        return output.error(error)


def _export(arguments: argparse.Namespace, output: Output) -> int:
    out = check_new(arguments.out)
    check_model(arguments.run)
    tokenizer = DatasetTokenizer.load(arguments.run)
    of_task = _task(arguments, tokenizer)
    prompt = demonstration(Dataset.open(arguments.prompt), arguments.task) if arguments.prompt else None
    model = load_model(arguments.run, arguments.which)
    save_pretrained(model, tokenizer, out, arguments.half)
    saved: Path | None = None
    if of_task is not None:
        saved = out / SAVED_MODEL
        policy = GatoPolicy(model, of_task, prompt, rows=arguments.rows, temperature=arguments.temperature)
        save_policy(policy, saved)
    weights, tasks = model.count_params(), list(tokenizer.specs)
    text = printable_lines(f"{out}: {weights:,} weights; tasks: {', '.join(tasks)}")
    return output.result(text, {"export": out, "weights": weights, "tasks": tasks, "saved_model": saved})


def _task(arguments: argparse.Namespace, tokenizer: DatasetTokenizer) -> EpisodeTokenizer | None:
    """Find the tokenizer of the SavedModel's task, None if there is to be no SavedModel."""
    if arguments.task is not None:
        check_saveable("memory", arguments.out)
        return tokenizer.task(arguments.task)
    if arguments.prompt or arguments.temperature or arguments.rows > 1:
        raise ValueError("--prompt, --temperature and --rows are those of a SavedModel: name its task by --task")
    return None
