"""`python -m gato_model`, also installed as `gato-model`: train, evaluate, generate, export."""

import argparse
import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from gato_model.commands import arguments as arguments_of
from gato_tokenize.version import __version__

COMMANDS = {
    "train": (arguments_of.train, "train a model on converted datasets, or go on with a run"),
    "evaluate": (arguments_of.evaluate, "let a trained model act in an environment"),
    "generate": (arguments_of.generate, "continue a text, caption an image, answer a question about one"),
    "export": (arguments_of.export, "write a run's model to a folder that others can read"),
}
EXIT_REFUSED, EXIT_INTERRUPTED = 2, 130
LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"  # set it to 0 to see TensorFlow's own log


def main(words: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    if words is None:
        words = sys.argv[1:]
        _find_modules_here()
    parser = argparse.ArgumentParser(prog="gato-model", description=__doc__)
    parser.add_argument("--version", action="version", version=f"gato-toolchain {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (add_arguments, about) in COMMANDS.items():
        add_arguments(commands.add_parser(name, help=about, description=about, allow_abbrev=False))
    arguments = parser.parse_args(words)
    try:
        module = _import(f"gato_model.commands.{arguments.command}")
    except KeyboardInterrupt:
        print("\ngato-model: stopped before it began", file=sys.stderr, flush=True)
        os._exit(EXIT_INTERRUPTED)
    except ModuleNotFoundError as error:
        cure = "pip install 'gato-toolchain[model]' installs it"
        print(f"gato-model: {arguments.command} needs the package {error.name}: {cure}", file=sys.stderr)
        return EXIT_REFUSED
    try:
        return int(module.run(arguments))
    except KeyboardInterrupt:
        message = module.how_to_resume(arguments) if arguments.command == "train" else "stopped"
        print(f"\ngato-model: {message}", file=sys.stderr, flush=True)
        os._exit(EXIT_INTERRUPTED)  # reading threads would delay a normal exit
    except BrokenPipeError:  # `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _find_modules_here() -> None:
    """Let an installed script find modules in the current folder as `python -m` does, for `my_module:My/Env-v0`; last,
    so that no file there hides an installed package. Child processes inherit the path."""
    here = os.getcwd()
    if not sys.flags.safe_path and here not in sys.path:
        sys.path.append(here)


def _import(name: str) -> Any:
    """Import a command, which imports TensorFlow: it takes seconds, and reports missing GPUs unless silenced."""
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever ~/.keras/keras.json says
    if os.environ.setdefault(LOG_LEVEL, "3") != "3":
        return importlib.import_module(name)
    with _silenced():
        return importlib.import_module(name)


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Swallow what is written to descriptor 2, unless an error ends the block.

    TensorFlow's native code writes its first lines before it looks at the log level.
    """
    before = os.dup(2)
    with tempfile.TemporaryFile() as swallowed:
        os.dup2(swallowed.fileno(), 2)
        try:
            yield
        except BaseException:
            swallowed.seek(0)
            os.write(before, swallowed.read())
            raise
        finally:
            os.dup2(before, 2)
            os.close(before)


if __name__ == "__main__":
    sys.exit(main())
