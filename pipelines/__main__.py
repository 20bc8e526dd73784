"""`python -m pipelines`, also installed as `gato-data`: datasets made, checked, looked at and edited."""

import argparse
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence

from gato_tokenize.version import __version__

COMMANDS = {  # imported only when asked for: Beam alone costs two seconds
    "convert": ("pipelines.commands.convert", "convert sources into a dataset of TFRecord episodes"),
    "verify": ("pipelines.commands.verify", "check every byte of a dataset"),
    "inspect": ("pipelines.commands.show", "show what a dataset holds, or one episode of it"),
    "rejects": ("pipelines.commands.rejects", "list what was rejected, or try it again after a fix"),
    "merge": ("pipelines.commands.merge", "put datasets together into a new one"),
    "filter": ("pipelines.commands.filter", "make a dataset of some of another's episodes"),
    "split": ("pipelines.commands.split", "divide a dataset's episodes into train, validation and test anew"),
    "report": ("pipelines.commands.report", "write one HTML page about a dataset"),
}
EXIT_INTERRUPTED = 130


def main(words: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    if words is None:
        words = sys.argv[1:]
        _find_modules_here()
    logging.getLogger().setLevel(logging.ERROR)  # importing Beam warns about cloud libraries that are not installed
    parser = argparse.ArgumentParser(prog="gato-data", description=__doc__)
    parser.add_argument("--version", action="version", version=f"gato-toolchain {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (module_name, about) in COMMANDS.items():
        command = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
        if name in words[:1]:
            try:
                module = importlib.import_module(module_name)
            except ModuleNotFoundError as error:
                cure = "pip install 'gato-toolchain[beam]' installs it"
                print(f"gato-data: {name} needs the package {error.name}: {cure}", file=sys.stderr)
                return 2
            module.add_arguments(command)
    arguments, rest = parser.parse_known_args(words)
    if rest and arguments.command != "convert":  # `convert` passes them on to Beam
        parser.error(f"unknown arguments: {' '.join(rest)}")
    try:
        return int(module.run(arguments, rest))
    except KeyboardInterrupt:
        message = module.how_to_resume(arguments) if hasattr(module, "how_to_resume") else "stopped"
        print(f"\ngato-data: {message}", file=sys.stderr, flush=True)
        os._exit(EXIT_INTERRUPTED)  # a normal exit would wait for a worker thread in the middle of an episode
    except BrokenPipeError:  # `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        traceback.print_exc()
        print(f"gato-data: {type(error).__name__}: {error}", file=sys.stderr)
        return 1


def _find_modules_here() -> None:
    """Let an installed script find modules in the current folder as `python -m` does, for `my_module:My/Env-v0`; last,
    so that no file there hides an installed package. Child processes inherit the path."""
    here = os.getcwd()
    if not sys.flags.safe_path and here not in sys.path:
        sys.path.append(here)


if __name__ == "__main__":
    sys.exit(main())
