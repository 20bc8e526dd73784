"""The command `split`."""

import argparse

from pipelines.commands.edits import add_folders, run_edit
from pipelines.editing.rules import Split


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_folders(parser)
    for name in ("validation", "test"):
        parser.add_argument(f"--{name}", type=float, default=0.0, metavar="F", help=f"fraction of the {name} split")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed, another split (default 0)")


def run(arguments: argparse.Namespace, rest: list[str]) -> int:
    """Run the command; returns its exit code: see `exit_code`."""
    return run_edit(
        [arguments.dataset],
        arguments.out,
        lambda: Split(arguments.validation, arguments.test, arguments.seed),
    )
