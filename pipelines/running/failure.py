"""How a run failed: in a process of it, or in the job of an engine."""

import re
import traceback
from typing import NamedTuple


def io_error(error: Exception) -> str | None:
    """Return the words of the OSError (a full disk) that a worker raised and Beam turned into a RuntimeError; None for
    another error."""
    found = re.search(r"\w+Error: \[Errno \d+\] .*?(?= \[while running|\n|$)", str(error))
    return found.group() if found else None


class RunnerError(ValueError):
    """A runner, an option or a worker that this conversion cannot or must not be run with."""


def refusal(error: Exception) -> str | None:
    """Return the words of the RunnerError that a worker raised and an engine turned into another error; None if it is
    none of these."""
    found = re.search(
        r"RunnerError: (the worker on .*?)(?= \[while running|\\n|\n|$)", f"{type(error).__name__}: {error}"
    )
    return found.group(1) if found else None


class WorkerDiedError(RuntimeError):
    """A process of a run, or the job of an engine, died or hung, and no candidate of the data is to blame."""


class Failure(NamedTuple):
    """What a process sends before it ends because of an exception."""

    io_error: str | None  # the words of an OSError: a fault of the machine
    memory: bool  # True for a MemoryError
    traceback: str


class Failed(RuntimeError):
    """An exception in a process of a local run. `io_error` has its words if the machine is at fault, else None."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.io_error or failure.traceback)
        self.failure, self.io_error = failure, failure.io_error


def failure_of(error: Exception, io_error: str | None = None) -> Failure:
    """Return what a process sends of an exception."""
    if isinstance(error, OSError):
        io_error = f"{type(error).__name__}: {error}"
    return Failure(io_error, isinstance(error, MemoryError), "".join(traceback.format_exception(error)))
