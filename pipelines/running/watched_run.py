"""A pipeline on local processes, watched: what dies or hangs there is tried alone, and the rest goes on."""

import functools
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam

from gato_tokenize.storage.dataset import DatasetTokenizer
from pipelines.conversion.plan import Plan
from pipelines.conversion.reject_budget import RejectBudget
from pipelines.processes.forked import forked
from pipelines.running.beam_pipeline import WritePartitions
from pipelines.running.failure import Failed, Failure, WorkerDiedError, failure_of, io_error
from pipelines.running.limits import Limits
from pipelines.running.progress import POLL_SECONDS, Tally, shown
from pipelines.running.write_alone import write_alone

MakePipeline = Callable[[], beam.Pipeline]


class _Died(NamedTuple):
    """What the pipeline's process sends when one of its workers is gone."""

    how: str


def run_watched(
    plan: Plan,
    tokenizer: DatasetTokenizer,
    folder: Path,
    budget: RejectBudget,
    make_pipeline: MakePipeline,
    limits: Limits,
) -> None:
    """Write all partitions of `plan` below `folder`, through a local pipeline in a fork.

    Where a process dies, or a partition tells nothing for `limits.stall_timeout` seconds, all partitions in flight are
    written alone, one after the other, and the pipeline is begun again for the rest. Raises RejectBudgetError as soon
    as the budget is surely exceeded, WorkerDiedError where a process dies of none of the data, Failed for what is
    raised.
    """
    tally, total = Tally(plan, folder), len(plan.partitions)
    with shown(tally, total) as show:

        def look() -> None:
            show()
            if not tally.complete:  # else publishing judges, and tells all
                budget.check_early(tally.reasons, tally.most, folder)

        look()
        while True:
            died = _run(functools.partial(_work, make_pipeline, folder, total), tally, look, limits)
            if died is None:
                return
            tally.refresh()
            suspects = tally.in_flight
            if not suspects:
                raise WorkerDiedError(died)
            tally.forget_journals()
            numbers = ", ".join(map(str, suspects))
            print(
                f"gato-data: {died}; now alone, one after the other: partition {numbers}", file=sys.stderr, flush=True
            )
            for index in suspects:
                write_alone(folder, plan, tokenizer, index, limits, look)


def _run(work: Callable[..., None], tally: Tally, look: Callable[[], None], limits: Limits) -> str | None:
    """Run the pipeline to its end; returns how it died, or None."""
    with forked(work) as child:
        while True:
            try:
                message = child.receive(POLL_SECONDS)
            except TimeoutError:
                look()
                if tally.silent_for() >= limits.stall_timeout:
                    return f"no sign of life for {limits.stall_timeout:g} s"
                continue
            except EOFError:
                return f"the process of the local run died of {child.end()}"
            if isinstance(message, Failure):
                raise Failed(message)
            return message.how if isinstance(message, _Died) else None


def _work(make_pipeline: MakePipeline, folder: Path, total: int, send: Callable[[Any], None]) -> None:
    """What the fork does. Beam waits for ever for a worker process that was killed; only the thread that looks after
    that process learns of it."""

    def thread_died(event: threading.ExceptHookArgs) -> None:
        if "Worker subprocess exited" in str(event.exc_value):
            send(_Died(str(event.exc_value)))
            os._exit(1)

    threading.excepthook = thread_died
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)  # it tells once a layer what it raises anyway
    try:
        pipeline = make_pipeline()
        _ = pipeline | WritePartitions(str(folder), total)
        pipeline.run().wait_until_finish()
        send(None)
    except Exception as error:
        time.sleep(0.2)  # the death of a worker may come out as an error of Beam's first
        send(failure_of(error, io_error(error)))
