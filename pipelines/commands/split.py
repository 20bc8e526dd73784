"""The command `split`."""

import argparse

from gato_tokenize.output import Output
from pipelines.commands.edits import run_edit
from pipelines.editing.rules import Split


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Run the command; returns its exit code: see `exit_code`."""
    return run_edit(
        arguments,
        [arguments.dataset],
        lambda: Split(arguments.validation, arguments.test, arguments.seed),
        output,
    )
