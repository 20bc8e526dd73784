"""What a command prints: text for a person, JSON for a program (`--json`), or nothing but errors (`--quiet`).

Results go to standard output, all else to standard error. With `--json` standard output holds JSON and nothing else,
also where a library or another process prints: one document, or for a stream one document a line.
"""

import argparse
import contextlib
import io
import json
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from typing import Any, TextIO

EXIT_FAILED, EXIT_REFUSED = 1, 2
_UNFOLDED = 10_000  # columns


def printable(text: object) -> str:
    r"""Return a text as a terminal should show it: characters that would move the cursor, colour the text or turn its
    direction are written as escapes, and so are tabs and line ends.

    >>> print(printable("[/b] \x1b[31mred\n"))
    [/b] \x1b[31mred\n
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def printable_lines(text: object) -> str:
    """Return a text of several lines, each of them `printable`."""
    return "\n".join(map(printable, str(text).split("\n")))


def counted(count: int, noun: str) -> str:
    """Write a count with its noun, in the plural where it needs one.

    >>> counted(1, "shard"), counted(1200, "shard"), counted(0, "fault")
    ('1 shard', '1,200 shards', '0 faults')
    """
    return f"{count:,} {noun}" + "s" * (count != 1)


def message_of(error: object) -> str:
    """Return the message of an error: that of a KeyError without the quotes which `str` would put around it."""
    return str(error.args[0] if isinstance(error, KeyError) and error.args else error)


class Output:
    """Where a command sends what it has to say.

    program: begins each error. json: results as JSON. quiet: neither progress nor, unless as JSON, results.
    """

    def __init__(self, program: str, json: bool = False, quiet: bool = False) -> None:
        self.program, self.json, self.quiet = program, json, quiet
        self._stdout: TextIO = sys.stdout

    @classmethod
    def of(cls, program: str, arguments: argparse.Namespace) -> "Output":
        """Make the output that a command's --json and --quiet ask for."""
        return cls(program, arguments.json, arguments.quiet)

    @property
    def colour(self) -> bool:
        """Whether results may be coloured: in a terminal, unless NO_COLOR is set."""
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        return self._stdout.isatty() and not plain

    @property
    def width(self) -> int:
        """The columns that tables have: COLUMNS or the terminal's; elsewhere, as many as they need."""
        return shutil.get_terminal_size((_UNFOLDED if not self._stdout.isatty() else 80, 24)).columns

    def drawn(self, draw: Callable[[Any], None], colour: bool = True) -> str:
        """Return as text what `draw` prints on a `rich.console.Console`. colour: no colours if it is false."""
        from rich.console import Console  # not needed by commands without tables

        file = io.StringIO()
        draw(Console(file=file, width=self.width, force_terminal=self.colour and colour))
        return file.getvalue().removesuffix("\n")

    @contextlib.contextmanager
    def reserved(self) -> Iterator[None]:
        """With `json`, keep standard output for `result` and `line`: what else is printed there, by other processes
        too, goes to standard error."""
        if not self.json:
            yield
            return
        with contextlib.ExitStack() as stack:
            if _is_descriptor_1(sys.stdout):
                sys.stdout.flush()
                self._stdout = stack.enter_context(os.fdopen(os.dup(1), "w", encoding="utf-8"))
                stack.callback(os.dup2, self._stdout.fileno(), 1)
                os.dup2(2, 1)
            else:
                self._stdout = sys.stdout
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
            yield

    def result(self, text: str, document: Any, code: int = 0) -> int:
        """Print the result of a command: the text, or the document as JSON. Returns the exit code."""
        if self.json:
            self._print(json.dumps(plain(document), indent=1, allow_nan=False))
        elif not self.quiet:
            self._print(text)
        return code

    def line(self, document: Mapping[str, Any]) -> None:
        """Print one document of a stream, as one line of JSON; nothing without `json`."""
        if self.json:
            self._print(json.dumps(plain(document), allow_nan=False))

    def error(self, error: object, code: int = EXIT_REFUSED) -> int:
        """Print an error: on standard error, and with `json` as {"error": message}. Returns the exit code."""
        message = printable_lines(message_of(error))
        write(f"{self.program}: {message}\n", sys.stderr)
        self.line({"error": message})
        return code

    def note(self, text: str) -> None:
        """Print on standard error what is neither a result nor an error."""
        if not self.quiet:
            write(f"{self.program}: {printable_lines(text)}\n", sys.stderr)

    def _print(self, text: str) -> None:
        write(text + "\n", self._stdout)


def write(text: str, stream: TextIO) -> None:
    """Write to standard output or error. If its reader is gone, as `| head` when it has what it wanted, this is no
    error: all that is written from then on is lost."""
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def plain(value: Any) -> Any:
    """Return a value as JSON has it: numbers of NumPy as numbers, paths as text, what is not finite as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "tolist"):  # an array or a number of NumPy
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_descriptor_1(stream: TextIO) -> bool:
    try:
        return stream.fileno() == 1
    except (OSError, ValueError):  # a stream that a test or a notebook put there
        return False
