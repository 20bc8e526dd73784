"""The command `generate`: continue a text, caption a picture, answer a question about one."""

import argparse

from gato_model.acting.generator import Generator
from gato_model.training.checkpoint import CheckpointError
from gato_tokenize.output import Output


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Run the command and return its exit code: 0, or 2 if it was refused."""
    try:
        _check(arguments)
        options = {"temperature": arguments.temperature, "top_k": arguments.top_k}
        generator = Generator.from_pretrained(arguments.checkpoint, arguments.which, **options)
        text = _written(generator, arguments)
    except (ValueError, OSError, CheckpointError) as error:
        return output.error(error)
    return output.result(text, {"text": text})


def _check(arguments: argparse.Namespace) -> None:
    if (arguments.text is None) == (arguments.image is None):
        raise ValueError("give --text to continue a text, or --image to caption a picture or, with --question, ask")
    if arguments.question is not None and arguments.image is None:
        raise ValueError("--question needs --image: it is asked about a picture")


def _written(generator: Generator, arguments: argparse.Namespace) -> str:
    limits = arguments.max_tokens, arguments.seed
    if arguments.text is not None:
        return generator.continue_text(arguments.text, *limits)
    picture = arguments.image.read_bytes()
    if arguments.question is None:
        return generator.caption(picture, *limits)
    return generator.answer(picture, arguments.question, *limits)
