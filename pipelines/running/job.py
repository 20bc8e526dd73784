"""A Beam job, watched from here: given up if nothing moves, and cancelled with the command."""

import threading
from collections.abc import Callable

import apache_beam as beam

from pipelines.running.failure import RunnerError, WorkerDiedError, io_error, refusal
from pipelines.running.progress import POLL_SECONDS

_CANCEL_SECONDS = 10.0


def run_job(pipeline: beam.Pipeline, look: Callable[[], None]) -> None:
    """Run a pipeline to its end, and call `look` meanwhile. What `look` raises, or Ctrl-C, cancels the job.

    Raises RunnerError for what a worker refuses, WorkerDiedError if the job ends in another way than by an exception in
    this project's code, else what Beam raises.
    """
    result = pipeline.run()
    failures: list[Exception] = []

    def wait() -> None:
        try:
            result.wait_until_finish()
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=wait, name="job", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(POLL_SECONDS)
            look()
    except BaseException:
        _cancel(result)
        raise
    if failures:
        raise _understood(failures[0]) from failures[0]


def _cancel(result: beam.runners.runner.PipelineResult) -> None:
    """Ask the engine to stop the job. One that is gone never answers."""

    def cancel() -> None:
        try:
            result.cancel()
        except Exception:
            pass  # it has ended, or the engine has

    thread = threading.Thread(target=cancel, name="cancel", daemon=True)
    thread.start()
    thread.join(_CANCEL_SECONDS)


def _understood(error: Exception) -> Exception:
    refused = refusal(error)
    if refused is not None:
        return RunnerError(refused)
    if io_error(error) is not None or "Traceback" in str(error) or isinstance(error, RunnerError):
        return error
    return WorkerDiedError(f"the job failed: {' '.join(str(error).split())}")
