"""`python -m gato_tokenize`, also installed as `gato-tokenize`: encode, decode, show, train-text."""

import argparse
import sys
from collections.abc import Sequence

from gato_tokenize.command_line import Command, CommandParser, parser_of, run_command
from gato_tokenize.storage.place import local_path

PROGRAM = "gato-tokenize"
MODALITIES = ("text", "continuous", "action", "discrete")


def main(words: Sequence[str] | None = None) -> int:
    """Run a command. Returns its exit code: 0, or 2 with a message if an input is wrong."""
    arguments = parser_of(PROGRAM, __doc__, COMMANDS).parse_args(words)
    return run_command(PROGRAM, COMMANDS[arguments.command], arguments)


def _encode(parser: CommandParser) -> None:
    parser.add_argument("modality", choices=[*MODALITIES, "image"])
    parser.add_argument("value", help="text, a JSON number or list, an image's path; - reads standard input")
    parser.add_argument("--out", type=local_path, metavar="FILE.npy", help="image: save uint8[n, 16, 16, 3]")
    _text_model(parser)
    _size(parser)
    parser.add_output("the ids in a JSON object")


def _decode(parser: CommandParser) -> None:
    parser.add_argument("modality", choices=MODALITIES)
    parser.add_argument("value", help="a JSON list of ids; - reads standard input")
    _text_model(parser)
    _size(parser)
    parser.add_output("the value in a JSON object")


def _show(parser: CommandParser) -> None:
    parser.add_argument("file", type=local_path, help="a TFRecord shard")
    parser.add_argument("record", type=int, nargs="?", default=0, help="its number (default 0)")
    parser.add_argument("--steps", type=int, default=3, metavar="N", help="timesteps to show (default 3)")
    parser.add_argument("--no-colour", action="store_true", help="plain text")
    _text_model(parser)
    parser.add_output("the record's tokens as one JSON object")


def _train_text(parser: CommandParser) -> None:
    parser.add_argument("files", nargs="+", type=local_path, metavar="FILE")
    parser.add_argument("--out", required=True, type=local_path, metavar="FILE.model")
    parser.add_argument("--vocabulary-size", type=int, default=32_000, metavar="N", help="default 32000")
    parser.add_output("the path and the number of pieces as one JSON object")


def _text_model(parser: argparse.ArgumentParser) -> None:
    about = "a SentencePiece model instead of the shipped one"
    parser.add_argument("--text-model", type=local_path, metavar="FILE", help=about)


def _size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--size", type=int, default=1024, metavar="N", help="of discrete values (default 1024)")


_MODULE = "gato_tokenize.commands"
COMMANDS = {
    "encode": Command("a value to ids", _encode, _MODULE),
    "decode": Command("ids to a value", _decode, _MODULE),
    "show": Command("a record of a shard", _show, _MODULE),
    "train-text": Command("train a SentencePiece model as the shipped one was", _train_text, _MODULE),
}


if __name__ == "__main__":
    sys.exit(main())
