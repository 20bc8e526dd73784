"""The commands of `gato-tokenize`: arguments in, exit code out."""

import argparse
import json
import sys
from typing import Any

import numpy as np

from gato_tokenize.modalities.continuous import ContinuousTokenizer
from gato_tokenize.modalities.discrete import DiscreteTokenizer
from gato_tokenize.modalities.image import ImageTokenizer
from gato_tokenize.modalities.text import TextTokenizer
from gato_tokenize.modalities.text_training import train_text_model
from gato_tokenize.output import Output, counted, printable
from gato_tokenize.storage.place import local_path
from gato_tokenize.storage.shards import read_record
from gato_tokenize.view import show
from gato_tokenize.vocabulary import Kind


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Run the command. Returns its exit code: 0, or 2 with a message if an input is wrong."""
    try:
        text, document = _COMMANDS[arguments.command](arguments, output)
    except (ValueError, TypeError, OSError, IndexError) as error:
        return output.error(error)
    return output.result(text, document)


def encode(arguments: argparse.Namespace, output: Output) -> tuple[str, Any]:
    """Return ids as a JSON list. For an image, return its grid and, with --out, save its patches."""
    if arguments.modality == "image":
        patches = ImageTokenizer().encode(local_path(arguments.value).read_bytes())
        rows, columns = patches.grid
        if arguments.out:
            np.save(arguments.out, patches.pixels, allow_pickle=False)
        grid = {"rows": rows, "columns": columns, "patches": len(patches.pixels)}
        return json.dumps(grid), grid
    ids = _tokenizer(arguments).encode(_value(arguments)).tolist()
    return json.dumps(ids), {"ids": ids}


def decode(arguments: argparse.Namespace, output: Output) -> tuple[str, Any]:
    """Return the value of ids, which are given as a JSON list."""
    decoded = _tokenizer(arguments).decode(_json(arguments.value))
    value = decoded if isinstance(decoded, str) else decoded.tolist()
    return value if isinstance(value, str) else json.dumps(value), {"value": value}


def show_record(arguments: argparse.Namespace, output: Output) -> tuple[str, Any]:
    """Return a record of a shard."""
    record = read_record(arguments.file, arguments.record)
    metadata, sequence = record.metadata, record.sequence
    colour = output.colour and not arguments.no_colour
    text = printable(f"{metadata.episode_id} ({metadata.task})") + "\n"
    document = {
        "episode_id": metadata.episode_id,
        "task": metadata.task,
        "num_steps": sequence.num_steps,
        "ids": sequence.ids,
        "kinds": [Kind(kind).name.lower() for kind in sequence.kinds.tolist()],
        "loss_mask": sequence.loss_mask,
    }
    return text + show(sequence, _text(arguments), colour, arguments.steps), document


def train_text(arguments: argparse.Namespace, output: Output) -> tuple[str, Any]:
    """Train a SentencePiece model with the shipped model's settings."""
    train_text_model(arguments.files, arguments.out, vocabulary_size=arguments.vocabulary_size)
    pieces = TextTokenizer.from_file(arguments.out).vocabulary_size
    return f"{arguments.out}: {counted(pieces, 'piece')}", {"model": arguments.out, "pieces": pieces}


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


_COMMANDS = {"encode": encode, "decode": decode, "show": show_record, "train-text": train_text}
