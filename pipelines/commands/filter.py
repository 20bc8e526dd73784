"""The command `filter`."""

import argparse
from pathlib import Path

from gato_tokenize.output import Output
from pipelines.commands.edits import run_edit
from pipelines.editing.rules import Filter


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Run the command; returns its exit code: see `exit_code`."""
    return run_edit(arguments, [arguments.dataset], lambda: _rule(arguments), output)


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
