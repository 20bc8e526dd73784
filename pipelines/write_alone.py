"""One partition alone in a process of its own, watched step by step: what kills or holds it up is quarantined."""

import dataclasses
import functools
import re
import resource
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from gato_tokenize.dataset import DatasetTokenizer
from pipelines.forked import forked
from pipelines.journal import Journal, Place
from pipelines.plan import Plan
from pipelines.quarantine import Quarantined, add_to_quarantine
from pipelines.source import Reject
from pipelines.write_partition import write_partition

LEAST_MEMORY = 2**30  # bytes of address space: what is loaded alone takes half of it
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class WorkerDiedError(RuntimeError):
    """A process of a local run died or hung, and no candidate of the data is to blame."""


class Failure(NamedTuple):
    """What a process sends before it ends because of an exception."""

    io_error: str | None  # the words of an OSError: a fault of the machine
    memory: bool  # a MemoryError
    traceback: str


class Failed(RuntimeError):
    """An exception in a process of a local run. `io_error`: its words, where the machine is at fault."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.io_error or failure.traceback)
        self.io_error = failure.io_error


@dataclasses.dataclass(frozen=True)
class Limits:
    """How long a local run waits for a sign of life, and what a partition may take when it is tried alone.

    stall_timeout: seconds. memory_limit: bytes of address space, at least 1 GiB; None: as much as there is.
    """

    stall_timeout: float = 600.0
    memory_limit: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.stall_timeout < float("inf"):
            raise ValueError(f"--stall-timeout is a number of seconds from 1, not {self.stall_timeout:g}")
        if self.memory_limit is not None and self.memory_limit < LEAST_MEMORY:
            raise ValueError(f"--memory-limit must be at least 1G, not {self.memory_limit} bytes")


def size_of(text: str) -> int:
    """Bytes of a size as a person writes it. Raises ValueError for anything else.

    >>> size_of("2G"), size_of("1.5G"), size_of("3000000000")
    (2147483648, 1610612736, 3000000000)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)", text)
    if not found:
        raise ValueError(f"a size is written like 2G or 1500M, not {text!r}")
    return int(float(found[1]) * _UNITS[found[2]])


def write_alone(
    folder: Path,
    plan: Plan,
    tokenizer: DatasetTokenizer,
    index: int,
    limits: Limits,
    quarantined: Callable[[], None] = lambda: None,
) -> None:
    """Write partition `index` in a fork. A candidate of which the fork dies, or at which it stays for
    `limits.stall_timeout` seconds, is put into the partition's quarantine, and the rest is tried again.

    quarantined: called after each. Raises WorkerDiedError where the fork dies outside any candidate, Failed where a
    file cannot be written.
    """
    while True:
        place, error = _attempt(folder, plan, tokenizer, index, limits)
        if error is None:
            return
        if place is None or place.stage == "save":
            raise WorkerDiedError(f"partition {index}, alone in a process, at no candidate of its own: {error}")
        left_out = Quarantined.of(plan.partitions[index]["source"], place, error)
        add_to_quarantine(folder, index, left_out)
        print(f"gato-data: left out: {left_out.reject.episode_id}: {left_out.reject.message}", file=sys.stderr)
        quarantined()


def _attempt(
    folder: Path, plan: Plan, tokenizer: DatasetTokenizer, index: int, limits: Limits
) -> tuple[Place | None, Exception | None]:
    """(the last step that was begun, what ended it); None where the partition is done."""
    place: Place | None = None
    with forked(functools.partial(_write, folder, plan, tokenizer, index, limits)) as child:
        while True:
            try:
                message = child.receive(limits.stall_timeout)
            except TimeoutError:
                return place, TimeoutError(f"no end after {limits.stall_timeout:g} s")
            except EOFError:
                return place, ChildProcessError(f"the process died of {child.end()}")
            if message is None:
                return place, None
            if isinstance(message, Place):
                place = message
            elif isinstance(message, Failure):
                if not message.memory:
                    raise Failed(message)
                return place, MemoryError("more memory was needed than --memory-limit allows")


def _write(
    folder: Path, plan: Plan, tokenizer: DatasetTokenizer, index: int, limits: Limits, send: Callable[[Any], None]
) -> None:
    if limits.memory_limit is not None:
        resource.setrlimit(resource.RLIMIT_AS, (limits.memory_limit, limits.memory_limit))
    try:
        with Journal(folder, index) as journal:

            def watch(event: Place | Reject) -> None:
                journal(event)
                send(event)

            write_partition(folder, plan, tokenizer, index, watch)
        send(None)
    except Exception as error:
        send(failure_of(error))


def failure_of(error: Exception, io_error: str | None = None) -> Failure:
    """What to send of an exception."""
    if isinstance(error, OSError):
        io_error = f"{type(error).__name__}: {error}"
    return Failure(io_error, isinstance(error, MemoryError), "".join(traceback.format_exception(error)))
