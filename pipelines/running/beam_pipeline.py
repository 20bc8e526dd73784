"""The Beam pipeline of a conversion: on local processes, or on any other runner."""

import argparse
import contextlib
import functools
import os
import shlex
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms import environments

from gato_tokenize.storage.store_path import Place, StorePath, place
from pipelines.conversion.journal import Journal
from pipelines.conversion.work_folder import PLAN, WorkFolder
from pipelines.conversion.write_partition import write_partition
from pipelines.running.limits import Limits
from pipelines.running.progress import Progress, showing_from_a_thread
from pipelines.running.write_alone import write_watched

# The worker of Beam's multi_processing mode, but silent: Beam's own logs every channel that it opens, and what it
# raises, which the parent reports anyway. A closed channel is the parent's doing, as when another worker has failed: it
# counts as no death, and the interpreter's own end may abort. Ctrl-C is left to the topmost parent.
_WORKER = "exec " + shlex.join([sys.executable, "-c", """
import logging, os, sys, traceback
from pipelines.processes.forked import die_with_parent
die_with_parent()
logging.disable(logging.CRITICAL)
import grpc
from apache_beam.runners.worker import sdk_worker_main
sys.stderr = open(os.devnull, "w")
try:
    sdk_worker_main.main(sys.argv)
except grpc.RpcError:
    pass
except BaseException:
    traceback.print_exc(file=sys.__stderr__)
    os._exit(1)
os._exit(0)
"""])  # fmt: skip


class RunnerError(ValueError):
    """A runner or an option that this conversion cannot or must not be run with."""


def run_on(
    runner: str,
    beam_options: Sequence[str] = (),
    limits: Limits = Limits(),  # noqa: B008 - it is frozen
    shown: bool = True,
) -> Callable[[WorkFolder], None]:
    """Return a `run` for `convert` in which a Beam runner writes every partition, and looks after its own workers.

    Each worker writes a partition in a process that it watches: a candidate that kills it, or gives no sign of life for
    `limits.stall_timeout` seconds, is quarantined, as in a local run.

    runner: Beam's name of it. beam_options: Beam's own command line. shown: say on standard error how far it is. Raises
    RunnerError as `local_pipeline` does.
    """
    _check_options(beam_options)
    options = PipelineOptions(list(beam_options), runner=runner)
    return functools.partial(_run_on, lambda: beam.Pipeline(options=options), limits, shown)


def _run_on(make_pipeline: Callable[[], beam.Pipeline], limits: Limits, shown: bool, folder: WorkFolder) -> None:
    pipeline = make_pipeline()  # not before it is needed: one that never runs leaves a temporary folder
    path = folder.path if isinstance(folder.path, StorePath) else folder.path.absolute()
    _ = pipeline | WritePartitions(str(path), len(folder.indices), limits)
    with showing_from_a_thread(Progress(folder, shown)):
        pipeline.run().wait_until_finish()


def local_pipeline(workers: int, beam_options: Sequence[str] = ()) -> Callable[[], beam.Pipeline]:
    """Return a function that makes an empty pipeline on this machine, with `workers` worker processes.

    Raises RunnerError for Beam's local multi-threading, which silently loses records, and for an unknown option.
    """
    _check_options(beam_options)
    return functools.partial(_local_pipeline, workers, tuple(beam_options))


def _local_pipeline(workers: int, beam_options: tuple[str, ...]) -> beam.Pipeline:
    environment = environments.SubprocessSDKEnvironment.from_command_string(_WORKER) if workers > 1 else None
    options = PipelineOptions(list(beam_options), direct_num_workers=workers)
    return beam.Pipeline(runner=FnApiRunner(default_environment=environment), options=options)


def _check_options(beam_options: Sequence[str]) -> None:
    if any("multi_threading" in word for word in beam_options):
        raise RunnerError(
            "direct_running_mode=multi_threading silently loses records in Beam's local runner: use --workers N, which"
            " runs processes"
        )
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for cls in PipelineOptions.__subclasses__():
        if "_add_argparse_args" in cls.__dict__:
            with contextlib.suppress(argparse.ArgumentError):
                cls._add_argparse_args(parser)
    unknown = [word for word in parser.parse_known_args(list(beam_options))[1] if word.startswith("-")]
    if unknown:
        raise RunnerError(f"unknown option {unknown[0]}: neither this command nor Beam has it")


class WritePartitions(beam.PTransform):  # type: ignore[misc]
    """Pipeline begin -> the number of each partition, once it is written: all work of the plan saved in `folder`.

    limits: by which each worker watches the process that writes a partition for it. None: the workers write
    themselves, and whoever runs the pipeline watches them.
    """

    def __init__(self, folder: str, partitions: int, limits: Limits | None = None) -> None:
        super().__init__()
        self.folder, self.count, self.limits = folder, partitions, limits

    def expand(self, begin: Any) -> Any:
        return (
            begin
            | "Partitions" >> beam.Create(range(self.count))
            | "Spread over workers" >> beam.Reshuffle()
            | "Write a shard each" >> beam.ParDo(_WritePartition(self.folder, self.limits))
        )


class _WritePartition(beam.DoFn):  # type: ignore[misc]
    def __init__(self, path: str, limits: Limits | None) -> None:
        self.path, self.limits = path, limits

    def setup(self) -> None:
        if self.limits is not None:
            check_worker(place(self.path))
        self.folder = WorkFolder.open(place(self.path))

    def process(self, index: int) -> Iterator[int]:
        if self.folder.done(index) is None:
            if self.limits is not None:
                write_watched(self.folder, index, self.limits)
            else:
                with Journal(self.folder.journal_path(index)) as journal:
                    write_partition(self.folder, index, journal)
        yield index


def check_worker(path: Place) -> None:
    """Raise RunnerError, which names this host, unless the work folder is here and can be written to. Whether a store
    lets it write shows when it does."""
    here = f"the worker on {socket.gethostname()}"
    try:
        found = (path / PLAN).is_file()
    except (OSError, ValueError) as error:
        raise RunnerError(f"{here} cannot read {path}: {error}") from error
    if not found:
        raise RunnerError(
            f"{here} does not see {path}: every worker needs the inputs and --out in an object store, or on a file"
            " system that all share, at the same path"
        )
    if isinstance(path, StorePath):
        return
    if not os.access(path / PLAN, os.R_OK) or not os.access((path / PLAN).parent, os.W_OK):
        raise RunnerError(f"{here} may not write to {path}: let its user write there")
