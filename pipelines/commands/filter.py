"""The command `filter`."""

import argparse
from pathlib import Path

from gato_tokenize.storage.place import local_path
from pipelines.commands.edits import add_folders, run_edit
from pipelines.editing.rules import Filter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_folders(parser)
    parser.add_argument("--task", action="append", default=[], metavar="NAME", help="may be given several times")
    parser.add_argument("--ids", type=local_path, metavar="FILE", help="episode ids, one a line")
    parser.add_argument("--success", choices=("true", "false"), help="episodes that are known to have it")
    for name, what, number in (("return", "sum of rewards", float), ("steps", "timesteps", int)):
        parser.add_argument(f"--min-{name}", type=number, metavar="N", help=f"least {what} of an episode")
        parser.add_argument(f"--max-{name}", type=number, metavar="N", help=f"most {what} of an episode")


def run(arguments: argparse.Namespace, rest: list[str]) -> int:
    """Run the command; returns its exit code: see `exit_code`."""
    return run_edit([arguments.dataset], arguments.out, lambda: _rule(arguments))


def _rule(arguments: argparse.Namespace) -> Filter:
    return Filter(
        tasks=tuple(sorted(set(arguments.task))),
        ids=None if arguments.ids is None else _ids(arguments.ids),
        success=None if arguments.success is None else arguments.success == "true",
        min_return=arguments.min_return,
        max_return=arguments.max_return,
        min_steps=arguments.min_steps,
        max_steps=arguments.max_steps,
    )


def _ids(path: Path) -> frozenset[str]:
    """Read a list of ids; empty lines are none. Raises ValueError if it holds none or is not UTF-8."""
    try:
        ids = frozenset(path.read_text(encoding="utf-8").split("\n")) - {""}  # universal newlines; ids may have others
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no list of episode ids, one a line: {error}") from error
    if not ids:
        raise ValueError(f"{path} holds no episode id: give one a line")
    return ids
