"""The commands of `gato-tokenize`: arguments in, exit code out."""

import argparse
import json
import sys
from typing import Any

import numpy as np

from gato_tokenize.command_line import EXIT_REFUSED
from gato_tokenize.modalities.continuous import ContinuousTokenizer
from gato_tokenize.modalities.discrete import DiscreteTokenizer
from gato_tokenize.modalities.image import ImageTokenizer
from gato_tokenize.modalities.text import TextTokenizer
from gato_tokenize.modalities.text_training import train_text_model
from gato_tokenize.storage.place import local_path
from gato_tokenize.storage.shards import read_record
from gato_tokenize.view import printable, printable_lines, show


def encode(arguments: argparse.Namespace) -> None:
    """Print ids as a JSON list. For an image, print its grid and, with --out, save its patches."""
    if arguments.modality == "image":
        patches = ImageTokenizer().encode(local_path(arguments.value).read_bytes())
        rows, columns = patches.grid
        print(json.dumps({"rows": rows, "columns": columns, "patches": len(patches.pixels)}))
        if arguments.out:
            np.save(arguments.out, patches.pixels, allow_pickle=False)
        return
    print(json.dumps(_tokenizer(arguments).encode(_value(arguments)).tolist()))


def decode(arguments: argparse.Namespace) -> None:
    """Print the value of ids, which are given as a JSON list."""
    ids = _json(arguments.value)
    decoded = _tokenizer(arguments).decode(ids)
    print(decoded if isinstance(decoded, str) else json.dumps(decoded.tolist()))


def show_record(arguments: argparse.Namespace) -> None:
    """Print a record of a shard."""
    record = read_record(arguments.file, arguments.record)
    print(printable(f"{record.metadata.episode_id} ({record.metadata.task})"))
    print(show(record.sequence, _text(arguments), not arguments.no_colour, arguments.steps))


def train_text(arguments: argparse.Namespace) -> None:
    """Train a SentencePiece model with the shipped model's settings."""
    train_text_model(arguments.files, arguments.out, vocabulary_size=arguments.vocabulary_size)
    print(f"{arguments.out}: {TextTokenizer.from_file(arguments.out).vocabulary_size} pieces")


def _text(arguments: argparse.Namespace) -> TextTokenizer:
    return TextTokenizer.from_file(arguments.text_model) if arguments.text_model else TextTokenizer()


def _tokenizer(arguments: argparse.Namespace) -> Any:
    if arguments.modality == "text":
        return _text(arguments)
    if arguments.modality == "discrete":
        return DiscreteTokenizer(arguments.size)
    return ContinuousTokenizer(companded=arguments.modality == "continuous")


def _value(arguments: argparse.Namespace) -> Any:
    text = sys.stdin.read() if arguments.value == "-" else arguments.value
    return text if arguments.modality == "text" else _json(text)


def _json(text: str) -> Any:
    try:
        return json.loads(sys.stdin.read() if text == "-" else text)
    except ValueError as error:
        raise ValueError(f"expected JSON such as [1, 2], got {text[:60]!r}: {error}") from error


def run(arguments: argparse.Namespace) -> int:
    """Run the command. Returns its exit code: 0, or 2 with a message if an input is wrong."""
    try:
        _COMMANDS[arguments.command](arguments)
    except (ValueError, TypeError, OSError, IndexError) as error:
        print(f"gato-tokenize: {printable_lines(error)}", file=sys.stderr)
        return EXIT_REFUSED
    return 0


_COMMANDS = {"encode": encode, "decode": decode, "show": show_record, "train-text": train_text}
