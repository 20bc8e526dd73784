"""One partition alone in a process of its own, watched step by step: what kills or holds it up is quarantined."""

import functools
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gato_tokenize.storage.dataset import DatasetTokenizer
from pipelines.conversion.journal import Journal, Place
from pipelines.conversion.plan import Plan
from pipelines.conversion.selection import Quarantined
from pipelines.conversion.work_folder import add_to_quarantine, journal_path
from pipelines.conversion.write_partition import write_partition
from pipelines.processes.forked import forked
from pipelines.running.failure import Failed, Failure, WorkerDiedError, failure_of
from pipelines.running.limits import Limits
from pipelines.sources.source import Reject


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
        with Journal(journal_path(folder, index)) as journal:

            def watch(event: Place | Reject) -> None:
                journal(event)
                send(event)

            write_partition(folder, plan, tokenizer, index, watch)
        send(None)
    except Exception as error:
        send(failure_of(error))
