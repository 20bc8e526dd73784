"""The command `generate`: continue a text, caption a picture, answer a question about one."""

import argparse
import sys
from pathlib import Path

from gato_model.acting.generator import Generator
from gato_model.training.checkpoint import CheckpointError, load
from gato_tokenize.storage.dataset import DatasetTokenizer

EXIT_REFUSED = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--checkpoint", required=True, type=Path, metavar="RUN", help="folder of a training run")
    add("--which", choices=("best", "last"), default="best", help="checkpoint (default: best)")
    add("--text", metavar="TEXT", help="text to continue")
    add("--image", type=Path, metavar="FILE", help="picture to caption, or to ask about")
    add("--question", metavar="TEXT", help="about the picture")
    add("--max-tokens", type=int, default=100, metavar="N", help="most pieces to write (default 100)")
    add("--temperature", type=float, default=0.0, metavar="T", help="0 takes the likeliest piece (default)")
    add("--top-k", type=int, default=0, metavar="K", help="draw among the K likeliest; 0: among all (default)")
    add("--seed", type=int, default=0, metavar="N", help="of the draws (default 0)")


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code: 0, or 2 if it was refused."""
    try:
        _check(arguments)
        generator = Generator(
            load(arguments.checkpoint, arguments.which),
            DatasetTokenizer.load(arguments.checkpoint),
            arguments.temperature,
            arguments.top_k,
        )
        print(_written(generator, arguments))
    except (ValueError, OSError, CheckpointError) as error:
        print(f"gato-model generate: {error}", file=sys.stderr)
        return EXIT_REFUSED
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if (arguments.text is None) == (arguments.image is None):
        raise ValueError("give --text to continue a text, or --image to caption a picture or, with --question, ask")
    if arguments.question is not None and arguments.image is None:
        raise ValueError("--question needs --image: it is asked about a picture")
    if arguments.max_tokens < 1:
        raise ValueError(f"--max-tokens must be at least 1, not {arguments.max_tokens}")


def _written(generator: Generator, arguments: argparse.Namespace) -> str:
    limits = arguments.max_tokens, arguments.seed
    if arguments.text is not None:
        return generator.continue_text(arguments.text, *limits)
    picture = arguments.image.read_bytes()
    if arguments.question is None:
        return generator.caption(picture, *limits)
    return generator.answer(picture, arguments.question, *limits)
