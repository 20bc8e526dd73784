"""The command `export`: a run's model in a folder that others can read, and on request a SavedModel that acts."""

import argparse
import sys

from gato_model.acting.policy import GatoPolicy
from gato_model.acting.pretrained import check_new, check_pretrained, load_model, save_pretrained
from gato_model.acting.saved_model import check_saveable, save_policy
from gato_model.evaluation.baselines import demonstration
from gato_model.training.checkpoint import CheckpointError
from gato_tokenize import Dataset, EpisodeTokenizer
from gato_tokenize.storage.dataset import DatasetTokenizer
from gato_tokenize.view import printable_lines

EXIT_REFUSED = 2
SAVED_MODEL = "saved_model"  # folder inside an export


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code: 0, or 2 if it was refused."""
    try:
        _export(arguments)
    except (ValueError, KeyError, OSError, CheckpointError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        print(f"gato-model export: {printable_lines(message)}", file=sys.stderr)
        return EXIT_REFUSED
    return 0


def _export(arguments: argparse.Namespace) -> None:
    out = check_new(arguments.out)
    check_pretrained(arguments.run)
    tokenizer = DatasetTokenizer.load(arguments.run)
    of_task = _task(arguments, tokenizer)
    prompt = demonstration(Dataset.open(arguments.prompt), arguments.task) if arguments.prompt else None
    model = load_model(arguments.run, arguments.which)
    save_pretrained(model, tokenizer, out)
    if of_task is not None:
        policy = GatoPolicy(model, of_task, prompt, rows=arguments.rows, temperature=arguments.temperature)
        save_policy(policy, out / SAVED_MODEL)
    if not arguments.quiet:
        print(f"{out}: {model.count_params():,} weights; tasks: {', '.join(tokenizer.specs)}")


def _task(arguments: argparse.Namespace, tokenizer: DatasetTokenizer) -> EpisodeTokenizer | None:
    """Find the tokenizer of the SavedModel's task, None if there is to be no SavedModel."""
    if arguments.task is not None:
        check_saveable("memory", arguments.out)
        return tokenizer.task(arguments.task)
    if arguments.prompt or arguments.temperature or arguments.rows > 1:
        raise ValueError("--prompt, --temperature and --rows are those of a SavedModel: name its task by --task")
    return None
