"""`python -m gato_model`, also installed as `gato-model`: train, evaluate, generate."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # or TensorFlow reports missing GPUs

COMMANDS = {  # the one that is asked for is imported: TensorFlow takes seconds
    "train": ("gato_model.commands.train", "train a model on converted datasets, or go on with a run"),
    "evaluate": ("gato_model.commands.evaluate", "let a trained model act in an environment"),
    "generate": ("gato_model.commands.generate", "continue a text, caption an image, answer a question about one"),
}
EXIT_INTERRUPTED = 130


def main(words: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    if words is None:
        words = sys.argv[1:]
        _find_modules_here()
    parser = argparse.ArgumentParser(prog="gato-model", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (module_name, about) in COMMANDS.items():
        command = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
        if name in words[:1]:
            try:
                module = importlib.import_module(module_name)
            except ModuleNotFoundError as error:
                cure = "pip install 'gato-toolchain[model]' installs it"
                print(f"gato-model: {name} needs the package {error.name}: {cure}", file=sys.stderr)
                return 2
            module.add_arguments(command)
    arguments = parser.parse_args(words)
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


if __name__ == "__main__":
    sys.exit(main())
