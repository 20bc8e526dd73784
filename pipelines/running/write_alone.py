"""One partition in a process of its own, watched step by step: a candidate that kills it or holds it up is
quarantined."""

import functools
import resource
from collections.abc import Callable
from typing import Any

from pipelines.conversion.journal import Journal
from pipelines.conversion.work_folder import WorkFolder
from pipelines.conversion.write_partition import write_partition
from pipelines.processes.forked import forked
from pipelines.running.failure import Failed, Failure, WorkerDiedError, failure_of
from pipelines.running.limits import Limits
from pipelines.running.worker_check import work_in
from pipelines.sources.reading import Reject, Step


def write_watched(folder: WorkFolder, index: int, limits: Limits, here: str | None = None) -> None:
    """Write partition `index` in a fork at full speed; if that dies or is held up, write it again as `write_alone`
    does, whose errors this raises, too."""
    _, error = _attempt(folder, index, limits, False, here)
    if error is not None:
        write_alone(folder, index, limits, here=here)


def write_alone(
    folder: WorkFolder,
    index: int,
    limits: Limits,
    on_quarantine: Callable[[Reject], None] = lambda _: None,
    here: str | None = None,
) -> None:
    """Write partition `index` in a fork. A candidate at which the fork dies, or stays for `limits.stall_timeout`
    seconds, is put into the partition's quarantine, and the rest is tried again.

    on_quarantine: called with each. here: where relative paths start, if not in the current folder. Raises
    WorkerDiedError if the fork dies outside any candidate, Failed if a file cannot be written.
    """
    while True:
        step, error = _attempt(folder, index, limits, True, here)
        if error is None:
            return
        if step is None or step.stage == "save":
            raise WorkerDiedError(f"partition {index}, alone in a process, at no candidate of its own: {error}")
        reject = step.reject(folder.plan.partitions[index].source, error)
        folder.add_to_quarantine(index, step.ordinal, reject)
        on_quarantine(reject)


def _attempt(
    folder: WorkFolder, index: int, limits: Limits, alone: bool, here: str | None
) -> tuple[Step | None, Exception | None]:
    """Return the last step that was begun, and the error that ended it; None if the partition is done."""
    step: Step | None = None
    with forked(functools.partial(_write, folder, index, limits, alone, here)) as child:
        while True:
            try:
                message = child.receive(limits.stall_timeout)
            except TimeoutError:
                return step, TimeoutError(f"no end after {limits.stall_timeout:g} s")
            except EOFError:
                return step, ChildProcessError(f"the process died of {child.end()}")
            if message is None:
                return step, None
            if isinstance(message, Step):
                step = message
            elif isinstance(message, Failure):
                if not message.memory:
                    raise Failed(message)
                return step, MemoryError("more memory was needed than --memory-limit allows")


def _write(
    folder: WorkFolder, index: int, limits: Limits, alone: bool, here: str | None, send: Callable[[Any], None]
) -> None:
    if here is not None:
        work_in(here)
    if alone and limits.memory_limit is not None:
        resource.setrlimit(resource.RLIMIT_AS, (limits.memory_limit, limits.memory_limit))
    try:
        with Journal(folder.journal_path(index)) as journal:

            def on_step(event: Step | Reject) -> None:
                journal(event)
                send(event)

            write_partition(folder, index, on_step, one_by_one=alone)
        send(None)
    except Exception as error:
        send(failure_of(error))
