"""`python -m pipelines`, also installed as `gato-data`: datasets made, checked, looked at and edited."""

import argparse
import logging
import sys
from collections.abc import Sequence

from gato_tokenize.command_line import Command, find_modules_here, parser_of, run_command
from pipelines.commands import arguments as arguments_of
from pipelines.running.engines import LOCAL, UNUSED_HERE
from pipelines.running.limits import LOCAL_RUNNER

PROGRAM = "gato-data"
_COMMANDS = {  # {name: (what it does, its module, the extra that it needs)}
    "convert": ("convert sources into a dataset of TFRecord episodes", "convert", "beam"),
    "sources": ("list what can be read, from what, and whether it is installed", "sources", "inspect"),
    "plan": ("show what a conversion would make of sources", "plan", ""),
    "verify": ("check every byte of a dataset", "verify", ""),
    "inspect": ("show what a dataset holds, or one episode of it", "show", "inspect"),
    "rejects": ("list what was rejected, or try it again after a fix", "rejects", ""),
    "merge": ("put datasets together into a new one", "merge", ""),
    "filter": ("make a dataset of some of another's episodes", "filter", ""),
    "split": ("divide a dataset's episodes into train, validation and test anew", "split", ""),
    "report": ("write one HTML page about a dataset", "report", "report"),
}
COMMANDS = {
    name: Command(about, getattr(arguments_of, name), f"pipelines.commands.{module}", extra)
    for name, (about, module, extra) in _COMMANDS.items()
}


def main(words: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    own_process = words is None
    if words is None:
        words = sys.argv[1:]
        find_modules_here()
    logging.getLogger().setLevel(logging.ERROR)  # importing Beam warns about cloud libraries that are not installed
    arguments = parser_of(PROGRAM, __doc__, COMMANDS).parse_args(words)
    unused = UNUSED_HERE if own_process and _is_local(arguments) else ()
    return run_command(PROGRAM, COMMANDS[arguments.command], arguments, unused=unused)


def _is_local(arguments: argparse.Namespace) -> bool:
    given = vars(arguments)
    return (given.get("engine", LOCAL), given.get("runner", LOCAL_RUNNER)) == (LOCAL, LOCAL_RUNNER)


if __name__ == "__main__":
    sys.exit(main())
