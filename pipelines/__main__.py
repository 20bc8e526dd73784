"""`python -m pipelines`, also installed as `gato-data`: datasets made, checked, looked at and edited."""

import logging
import sys
import traceback
from collections.abc import Sequence

from gato_tokenize.command_line import EXIT_FAILED, Command, find_modules_here, parser_of, run_command
from pipelines.commands import arguments as arguments_of

PROGRAM = "gato-data"
COMMANDS = {
    "convert": Command(
        "convert sources into a dataset of TFRecord episodes", arguments_of.convert, "pipelines.commands.convert"
    ),
    "verify": Command("check every byte of a dataset", arguments_of.verify, "pipelines.commands.verify"),
    "inspect": Command(
        "show what a dataset holds, or one episode of it", arguments_of.inspect, "pipelines.commands.show"
    ),
    "rejects": Command(
        "list what was rejected, or try it again after a fix", arguments_of.rejects, "pipelines.commands.rejects"
    ),
    "merge": Command("put datasets together into a new one", arguments_of.merge, "pipelines.commands.merge"),
    "filter": Command("make a dataset of some of another's episodes", arguments_of.filter, "pipelines.commands.filter"),
    "split": Command(
        "divide a dataset's episodes into train, validation and test anew",
        arguments_of.split,
        "pipelines.commands.split",
    ),
    "report": Command("write one HTML page about a dataset", arguments_of.report, "pipelines.commands.report"),
}


def main(words: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    if words is None:
        words = sys.argv[1:]
        find_modules_here()
    logging.getLogger().setLevel(logging.ERROR)  # importing Beam warns about cloud libraries that are not installed
    arguments = parser_of(PROGRAM, __doc__, COMMANDS).parse_args(words)
    try:
        return run_command(PROGRAM, COMMANDS[arguments.command], arguments, "beam")
    except Exception as error:
        traceback.print_exc()
        print(f"{PROGRAM}: {type(error).__name__}: {error}", file=sys.stderr)
        return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
