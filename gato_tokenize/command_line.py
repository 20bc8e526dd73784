"""What the three programs share: a parser whose options may come from a file, and how a command is run.

Nothing is imported but the standard library until a command runs: help and a refused option take no seconds.
"""

import argparse
import contextlib
import dataclasses
import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from gato_tokenize import config_file
from gato_tokenize.output import EXIT_FAILED, Output, printable_lines, write
from gato_tokenize.storage.place import local_path
from gato_tokenize.version import __version__

EXIT_INTERRUPTED = 130


@dataclasses.dataclass(frozen=True)
class Command:
    """A command of a program.

    module: has `run(arguments, output) -> int`, and may have `how_to_resume(arguments) -> str` for after Ctrl-C
    extra: the extra of the installation that the command needs, "" for none
    """

    about: str
    add_arguments: Callable[["CommandParser"], None]
    module: str
    extra: str = ""


class CommandParser(argparse.ArgumentParser):
    """A parser of one command, or of a program with commands. No option may be abbreviated."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})
        self._has_config, self._passed_on, self._as_json = False, "", False

    def add_flag(self, name: str, help: str) -> None:
        """Add an option that is true or false: --name and, against a file that says true, --no-name."""
        action = self.add_argument(name, action=argparse.BooleanOptionalAction, help=help)
        action.default = False  # given above, argparse would add it to the help

    def add_output(self, document: str) -> None:
        """Add --json and --quiet. document: what --json prints."""
        for name, about in (("--json", f"print {document}"), ("--quiet", "print nothing but errors")):
            self.add_flag(name, about) if self._has_config else self.add_argument(name, action="store_true", help=about)

    def add_config(self) -> None:
        """Add --config and --print-config. Call it before `add_output`, whose options may stand in the file, too."""
        self._has_config = True
        about = "a TOML file of options by their long names; those of the command line win"
        self.add_argument("--config", type=local_path, metavar="FILE", help=about)
        about = "print all options as such a file, and stop"
        self.add_argument("--print-config", action="store_true", help=about)

    def pass_on(self, key: str) -> None:
        """Put unknown words into `arguments`, as the list `key`, which is a key of the file, too."""
        self._passed_on = key

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        words = sys.argv[1:] if args is None else list(args)
        self._as_json = "--json" in words
        if not self._has_config:
            return super().parse_known_args(words, namespace)
        passed_on = self._take_defaults(words)
        arguments, unknown = super().parse_known_args(words, namespace)
        if self._passed_on:
            setattr(arguments, self._passed_on.replace("-", "_"), unknown or passed_on)
            passed_on, unknown = unknown or passed_on, []
        if arguments.print_config and not unknown:
            self._print_config(arguments, {self._passed_on: passed_on} if self._passed_on else {})
        return arguments, unknown

    def _take_defaults(self, words: list[str]) -> list[str]:
        """Make the values of the file that --config names the defaults; return those that are passed on."""
        path = self._config_path(words)
        if path is None:
            return []
        try:
            values = config_file.read(path, self, self._passed_on)
        except config_file.ConfigError as error:
            self.refuse(error)
        passed_on: list[str] = values.pop(self._passed_on, [])
        actions = config_file.keys(self)
        for key, value in values.items():
            action = actions[key]
            action.default, action.required = value, False
            if not action.option_strings:
                action.nargs = "*"
        return passed_on

    def _config_path(self, words: list[str]) -> Path | None:
        finder = argparse.ArgumentParser(prog=self.prog, usage=argparse.SUPPRESS, add_help=False, allow_abbrev=False)
        finder.add_argument("--config", type=local_path, metavar="FILE")
        path: Path | None = finder.parse_known_args(words)[0].config
        return path

    def _print_config(self, arguments: argparse.Namespace, more: Mapping[str, list[str]]) -> NoReturn:
        try:
            write(config_file.write(arguments, self, more), sys.stdout)
        except config_file.ConfigError as error:
            self.refuse(error)
        except ModuleNotFoundError as error:
            from gato_tokenize.installing import missing  # not needed for help

            self.refuse(missing("--print-config", error, ""))
        self.exit(0)

    def _print_message(self, message: str, file: Any = None) -> None:
        write(message, sys.stderr if file is None else file)

    def refuse(self, error: object) -> NoReturn:
        """Stop with one line, without the usage."""
        sys.exit(Output(self.prog, json=self._as_json).error(error))

    def error(self, message: str) -> NoReturn:
        """Stop with the usage, as argparse does; with --json, the message is on standard output, too."""
        shown = printable_lines(message)
        Output(self.prog, json=self._as_json).line({"error": shown})
        super().error(shown)


def parser_of(program: str, about: str | None, commands: Mapping[str, Command]) -> CommandParser:
    """Make the parser of a program: `arguments.command` is the name of the command."""
    parser = CommandParser(prog=program, description=about)
    parser.add_argument("--version", action="version", version=f"gato-toolchain {__version__}")
    names = parser.add_subparsers(dest="command", required=True)
    for name, command in commands.items():
        command.add_arguments(names.add_parser(name, help=command.about, description=command.about))
    return parser


def find_modules_here() -> None:
    """Let an installed script find modules in the current folder as `python -m` does, for `my_module:My/Env-v0`; last,
    so that no file there hides an installed package. Child processes inherit the path."""
    here = os.getcwd()
    if not sys.flags.safe_path and here not in sys.path:
        sys.path.append(here)


def run_command(
    program: str,
    command: Command,
    arguments: argparse.Namespace,
    load: Callable[[str], Any] = importlib.import_module,
    unused: Iterable[str] = (),
) -> int:
    """Import a command by `load`, `without` what it does not use, and run it; returns its exit code."""
    output = Output.of(program, arguments)
    try:
        with output.reserved():
            return _run(command, arguments, output, load, unused)
    except BrokenPipeError:  # of standard error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
        return EXIT_FAILED


@contextlib.contextmanager
def without(packages: Iterable[str]) -> Iterator[None]:
    """Import in this block as if these packages were not installed; those that are loaded already stay.

    A library may import all that it finds of what it can work with, for seconds. What it has missed it lacks for good,
    so that this is for a process whose purpose is known: that of a command, or of a worker.
    """
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None there makes an import fail
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def _run(
    command: Command, arguments: argparse.Namespace, output: Output, load: Callable[[str], Any], unused: Iterable[str]
) -> int:
    try:
        with _ending_at_once(output), without(unused):
            module = load(command.module)
    except ModuleNotFoundError as error:
        from gato_tokenize.installing import missing  # not needed for help

        return output.error(missing(arguments.command, error, command.extra))
    try:
        return int(module.run(arguments, output))
    except KeyboardInterrupt:
        _interrupted(module.how_to_resume(arguments) if hasattr(module, "how_to_resume") else "stopped", output)
    except BrokenPipeError:
        raise
    except Exception as error:
        traceback.print_exc()
        return output.error(f"{type(error).__name__}: {error}", EXIT_FAILED)


@contextlib.contextmanager
def _ending_at_once(output: Output) -> Iterator[None]:
    """Let Ctrl-C end the process at once, in one line: a library that is being imported may take a KeyboardInterrupt
    for a failure of its own, and shows where it was."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        yield
        return
    message, shown = "stopped before it began", os.dup(2)  # `load` may have turned descriptor 2 elsewhere

    def end(*_: object) -> None:
        os.write(shown, f"\n{output.program}: {message}\n".encode())
        output.line({"error": message})
        os._exit(EXIT_INTERRUPTED)

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        os.close(shown)


def _interrupted(message: str, output: Output) -> NoReturn:
    print(file=sys.stderr)  # after the terminal's ^C
    output.error(message)
    os._exit(EXIT_INTERRUPTED)  # a normal exit would wait for threads that read, or are inside an episode
