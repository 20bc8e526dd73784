"""`python -m gato_tokenize`, also installed as `gato-tokenize`: encode, decode, show, train-text."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from gato_tokenize.modalities.continuous import ContinuousTokenizer
from gato_tokenize.modalities.discrete import DiscreteTokenizer
from gato_tokenize.modalities.image import ImageTokenizer
from gato_tokenize.modalities.text import TextTokenizer
from gato_tokenize.modalities.text_training import train_text_model
from gato_tokenize.storage.place import local_path
from gato_tokenize.storage.shards import read_record
from gato_tokenize.version import __version__
from gato_tokenize.view import printable, printable_lines, show

MODALITIES = ("text", "continuous", "action", "discrete")


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gato-tokenize", description=__doc__)
    parser.add_argument("--version", action="version", version=f"gato-toolchain {__version__}")
    commands = parser.add_subparsers(required=True)
    text_model = argparse.ArgumentParser(add_help=False)
    text_model.add_argument(
        "--text-model", type=local_path, metavar="FILE", help="a SentencePiece model instead of the shipped one"
    )
    size = argparse.ArgumentParser(add_help=False)
    size.add_argument("--size", type=int, default=1024, metavar="N", help="of discrete values (default 1024)")

    command = commands.add_parser("encode", help="a value to ids", parents=[text_model, size])
    command.add_argument("modality", choices=[*MODALITIES, "image"])
    command.add_argument("value", help="text, a JSON number or list, an image's path; - reads standard input")
    command.add_argument("--out", type=local_path, metavar="FILE.npy", help="image: save uint8[n, 16, 16, 3]")
    command.set_defaults(run=encode)

    command = commands.add_parser("decode", help="ids to a value", parents=[text_model, size])
    command.add_argument("modality", choices=MODALITIES)
    command.add_argument("value", help="a JSON list of ids; - reads standard input")
    command.set_defaults(run=decode)

    command = commands.add_parser("show", help="a record of a shard", parents=[text_model])
    command.add_argument("file", type=local_path, help="a TFRecord shard")
    command.add_argument("record", type=int, nargs="?", default=0, help="its number (default 0)")
    command.add_argument("--steps", type=int, default=3, metavar="N", help="timesteps to show (default 3)")
    command.add_argument("--no-colour", action="store_true", help="plain text")
    command.set_defaults(run=show_record)

    command = commands.add_parser("train-text", help="train a SentencePiece model as the shipped one was")
    command.add_argument("files", nargs="+", type=local_path, metavar="FILE")
    command.add_argument("--out", required=True, type=local_path, metavar="FILE.model")
    command.add_argument("--vocabulary-size", type=int, default=32_000, metavar="N", help="default 32000")
    command.set_defaults(run=train_text)
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Run a command. Returns its exit code: 0, or 2 with a message if an input is wrong."""
    arguments = _parser().parse_args(words)
    try:
        arguments.run(arguments)
    except (ValueError, TypeError, OSError, IndexError) as error:
        print(f"gato-tokenize: {printable_lines(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
