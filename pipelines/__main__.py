"""`python -m pipelines`, also installed as `gato-data`: convert, verify, inspect."""

import argparse
import os
import sys
import traceback
from collections.abc import Sequence


def main(words: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    from pipelines import convert, show, verify  # here, for a child process that imports this file must not pay for it

    parser = argparse.ArgumentParser(prog="gato-data", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    about = {
        "convert": "convert sources into a dataset of TFRecord episodes",
        "verify": "check every byte of a dataset",
        "inspect": "show what a dataset holds, or one episode of it",
    }
    modules = {"convert": convert, "verify": verify, "inspect": show}
    for name, module in modules.items():
        module.add_arguments(commands.add_parser(name, help=about[name], description=about[name], allow_abbrev=False))
    arguments, rest = parser.parse_known_args(words)
    if rest and arguments.command != "convert":  # there they are Beam's
        parser.error(f"unknown arguments: {' '.join(rest)}")
    try:
        return modules[arguments.command].run(arguments, rest)
    except KeyboardInterrupt:
        message = convert.how_to_resume(arguments) if arguments.command == "convert" else "stopped"
        print(f"\ngato-data: {message}", file=sys.stderr, flush=True)
        os._exit(convert.EXIT_INTERRUPTED)  # a worker thread in the middle of an episode would hold up a normal exit
    except BrokenPipeError:  # `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        traceback.print_exc()
        print(f"gato-data: {type(error).__name__}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
