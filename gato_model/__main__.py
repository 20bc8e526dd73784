"""`python -m gato_model`, also installed as `gato-model`: train, evaluate, generate, export."""

import contextlib
import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from gato_model.commands import arguments as arguments_of
from gato_tokenize.command_line import Command, find_modules_here, parser_of, run_command

PROGRAM = "gato-model"
_ABOUT = {
    "train": "train a model on converted datasets, or go on with a run",
    "evaluate": "let a trained model act in an environment",
    "generate": "continue a text, caption an image, answer a question about one",
    "export": "write a run's model to a folder that others can read",
}
COMMANDS = {
    name: Command(about, getattr(arguments_of, name), f"gato_model.commands.{name}", "model")
    for name, about in _ABOUT.items()
}
# Packages that Keras imports where they are installed: a fifth of the time that TensorFlow takes to import, and 90 MB.
_UNUSED = ("IPython", "matplotlib", "pandas", "sklearn")
LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"  # set it to 0 to see TensorFlow's own log


def main(words: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    unused = _UNUSED if words is None else ()  # in another process, somebody else may want them of Keras
    if words is None:
        words = sys.argv[1:]
        find_modules_here()
    arguments = parser_of(PROGRAM, __doc__, COMMANDS).parse_args(words)
    prefix = f"{PROGRAM} {arguments.command}"
    return run_command(prefix, COMMANDS[arguments.command], arguments, _import, unused=unused)


def _import(name: str) -> Any:
    """Import a command, which imports TensorFlow: it takes seconds, and reports missing GPUs unless silenced."""
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever ~/.keras/keras.json says
    if os.environ.setdefault(LOG_LEVEL, "3") != "3":
        return importlib.import_module(name)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of every task that is compiled after the first
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
