"""A conversion on any Beam runner but the local one: its workers check themselves, then write the partitions."""

import functools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from gato_tokenize.storage.store_path import place
from pipelines.conversion.work_folder import WorkFolder
from pipelines.running.beam_pipeline import check_options
from pipelines.running.failure import RunnerError, WorkerDiedError
from pipelines.running.job import run_job
from pipelines.running.limits import Limits
from pipelines.running.progress import Progress, showing_from_a_thread
from pipelines.running.worker_check import WorkerCheck
from pipelines.running.worker_pools import on_pools, pool_runner
from pipelines.running.write_alone import write_watched

_ASKED = 16  # tasks of the job that asks the workers
_START_SECONDS = 120.0  # for workers to start in
_SEEN_SECONDS = 90.0  # after which every client of a network file system sees a new file
_SILENCES = 3  # a partition is silent for at most two times the stall timeout


def run_on(
    runner: str,
    beam_options: Sequence[str] = (),
    limits: Limits = Limits(),  # noqa: B008 - it is frozen
    shown: bool = True,
    pools: Sequence[str] = (),
) -> Callable[[WorkFolder], None]:
    """Return a `run` for `convert` in which a Beam runner writes every partition, and looks after its own workers.

    First a short job asks workers whether they see the inputs and the folder, may write there, and have this release;
    each other worker checks the same before its first partition. Then each writes a partition in a process that it
    watches: a candidate that kills it, or gives no sign of life for `limits.stall_timeout` seconds, is quarantined, as
    in a local run.

    runner: Beam's name of it. beam_options: Beam's own command line. shown: say on standard error how far it is. pools:
    addresses of worker pools over which the partitions are shared out evenly; none: the runner shares them out.
    The run raises RunnerError for a worker that cannot do the work, WorkerDiedError if the job fails, or if no
    partition gives a sign of life for three times `limits.stall_timeout`. Raises RunnerError as `local_pipeline` does.
    """
    pool_runner(runner)  # its module may have options of its own
    logging.getLogger("distributed").setLevel(logging.ERROR)  # Dask's: it logs each worker that comes and goes
    check_options(beam_options)
    options = PipelineOptions(list(beam_options))
    return functools.partial(_run_on, lambda: beam.Pipeline(pool_runner(runner), options=options), limits, shown, pools)


def _run_on(
    make_pipeline: Callable[[], beam.Pipeline], limits: Limits, shown: bool, pools: Sequence[str], folder: WorkFolder
) -> None:
    check = WorkerCheck.of(folder)
    with check.offered(), showing_from_a_thread(Progress(folder, shown)) as progress:
        _ask_workers(make_pipeline, check, limits, pools)
        pipeline = make_pipeline()  # not before it is needed: one that never runs leaves a temporary folder
        _ = pipeline | on_pools(range(len(folder.indices)), _WriteWatched(check, limits), pools)
        longest = _SILENCES * limits.stall_timeout + _START_SECONDS
        started = time.monotonic()

        def look() -> None:
            if min(progress.idle_for(), time.monotonic() - started) > longest:
                raise WorkerDiedError(f"no worker gave a sign of life for {longest:g} s; the job was cancelled")

        run_job(pipeline, look)


def _ask_workers(
    make_pipeline: Callable[[], beam.Pipeline], check: WorkerCheck, limits: Limits, pools: Sequence[str]
) -> None:
    """Run a job that lets workers check themselves. Raises RunnerError if one cannot do the work, or none answers."""
    pipeline = make_pipeline()
    _ = pipeline | on_pools(range(_ASKED), _Ask(check), pools)
    seconds, started = limits.stall_timeout + _START_SECONDS, time.monotonic()

    def look() -> None:
        if time.monotonic() - started > seconds and not check.answers():
            raise RunnerError(
                f"no worker answered within {seconds:g} s: see the logs of the engine and of its workers. A worker pool"
                " starts the `python` that is first on its PATH, which must have this package"
            )

    run_job(pipeline, look)
    give_up = time.monotonic() + _SEEN_SECONDS
    while not check.answers():
        if time.monotonic() > give_up:
            raise RunnerError(
                f"workers wrote to {check.folder}, and nothing of it is seen here: --out must be on a file system that"
                " all share, or in an object store"
            )
        time.sleep(0.1)


class _Ask(beam.DoFn):  # type: ignore[misc]
    def __init__(self, check: WorkerCheck) -> None:
        self.check = check

    def process(self, number: int) -> Iterator[int]:
        self.check.run()
        yield number


class _WriteWatched(beam.DoFn):  # type: ignore[misc]
    def __init__(self, check: WorkerCheck, limits: Limits) -> None:
        self.check, self.limits = check, limits

    def setup(self) -> None:
        self.check.run()
        self.folder: Any = WorkFolder.open(place(self.check.folder))

    def process(self, index: int) -> Iterator[int]:
        if self.folder.done(index) is None:
            write_watched(self.folder, index, self.limits, self.check.here)
        yield index
