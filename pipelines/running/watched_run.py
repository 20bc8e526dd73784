"""A pipeline on local processes, watched: partitions at which one dies or hangs are tried alone, the rest goes on."""

import functools
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import apache_beam as beam

from pipelines.conversion.reject_budget import RejectBudget
from pipelines.conversion.work_folder import WorkFolder
from pipelines.processes.forked import forked
from pipelines.running.beam_pipeline import WritePartitions, local_pipeline
from pipelines.running.failure import Failed, Failure, WorkerDiedError, failure_of, io_error
from pipelines.running.limits import Limits
from pipelines.running.progress import POLL_SECONDS, Progress, showing
from pipelines.running.write_alone import write_alone
from pipelines.sources.reading import Reject


class _Died(NamedTuple):
    """What the pipeline's process sends when one of its workers is gone."""

    how: str


def run_locally(
    workers: int, limits: Limits, budget: RejectBudget, beam_options: Sequence[str] = (), shown: bool = True
) -> Callable[[WorkFolder], None]:
    """Return a `run` for `convert` in which a local pipeline, in a fork of this process, writes every partition.

    If a process dies, or a partition gives no sign of life for `limits.stall_timeout` seconds, all partitions in flight
    are written alone, one after the other, and the pipeline is begun again for the rest. The run raises
    RejectBudgetError as soon as the budget is certain to be exceeded, WorkerDiedError if a process dies and no data is
    to blame, Failed for what a process raises. Raises RunnerError as `local_pipeline` does. shown: say on
    standard error how far it is, and what was left out.
    """
    return functools.partial(_run_watched, local_pipeline(workers, beam_options), limits, budget, shown)


def _run_watched(
    make_pipeline: Callable[[], beam.Pipeline], limits: Limits, budget: RejectBudget, shown: bool, folder: WorkFolder
) -> None:
    progress = Progress(folder, shown)
    work = functools.partial(_work, make_pipeline, folder)
    with showing(progress) as show:

        def look() -> None:
            show()
            if not progress.complete:  # else publishing checks the budget
                budget.check_early(progress.reasons, progress.most, folder.path)

        def left_out(reject: Reject) -> None:
            progress.note(f"left out: {reject.episode_id}: {reject.message}")
            look()

        look()
        while (died := _run(work, progress, look, limits)) is not None:
            for index in _suspects(progress, died):
                write_alone(folder, index, limits, left_out)


def _suspects(progress: Progress, died: str) -> list[int]:
    """Return the partitions that were in flight when the pipeline died. Raises WorkerDiedError if there was none."""
    progress.refresh()
    suspects = progress.in_flight
    if not suspects:
        raise WorkerDiedError(died)
    progress.forget_journals()
    numbers = ", ".join(map(str, suspects))
    progress.note(f"{died}; now alone, one after the other: partition {numbers}")
    return suspects


def _run(work: Callable[..., None], progress: Progress, look: Callable[[], None], limits: Limits) -> str | None:
    """Run the pipeline to its end; returns how it died, or None."""
    with forked(work) as child:
        while True:
            try:
                message = child.receive(POLL_SECONDS)
            except TimeoutError:
                look()
                if progress.silent_for() >= limits.stall_timeout:
                    return f"no sign of life for {limits.stall_timeout:g} s"
                continue
            except EOFError:
                return f"the process of the local run died of {child.end()}"
            if isinstance(message, Failure):
                raise Failed(message)
            return message.how if isinstance(message, _Died) else None


def _work(make_pipeline: Callable[[], beam.Pipeline], folder: WorkFolder, send: Callable[[Any], None]) -> None:
    """Run the pipeline in the fork. Beam waits forever for a worker process that was killed; only the thread that looks
    after that process learns of it."""

    def thread_died(event: threading.ExceptHookArgs) -> None:
        if "Worker subprocess exited" in str(event.exc_value):
            send(_Died(str(event.exc_value)))
            os._exit(1)

    threading.excepthook = thread_died
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)  # every layer logs what it raises anyway
    try:
        pipeline = make_pipeline()
        _ = pipeline | WritePartitions(str(folder.path), len(folder.indices))
        pipeline.run().wait_until_finish()
        send(None)
    except Exception as error:
        time.sleep(0.2)  # the death of a worker may show as an error of Beam's first
        send(failure_of(error, io_error(error)))
