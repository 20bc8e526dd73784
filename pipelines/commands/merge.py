"""The command `merge`."""

import argparse

from gato_tokenize.storage.place import local_path
from pipelines.commands.edits import run_edit
from pipelines.editing.rules import Merge


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=local_path, metavar="OUT", help="the folder NAME/VERSION of the new dataset")
    parser.add_argument("datasets", nargs="+", type=local_path, metavar="IN", help="folders NAME/VERSION, in order")


def run(arguments: argparse.Namespace, rest: list[str]) -> int:
    """Run the command; returns its exit code: see `exit_code`."""
    return run_edit(arguments.datasets, arguments.out, Merge)
