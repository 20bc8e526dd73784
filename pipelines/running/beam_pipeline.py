"""The Beam pipeline of a local run, on processes of this machine."""

import argparse
import contextlib
import functools
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms import environments

from gato_tokenize.storage.store_path import place
from pipelines.conversion.journal import Journal
from pipelines.conversion.work_folder import WorkFolder
from pipelines.conversion.write_partition import write_partition
from pipelines.running.failure import RunnerError

# The worker of Beam's multi_processing mode, but silent: Beam's own logs every channel that it opens, and what it
# raises, which the parent reports anyway. A closed channel is the parent's doing, as when another worker has failed: it
# counts as no death, and the interpreter's own end may abort. Ctrl-C is left to the topmost parent.
_WORKER = "exec " + shlex.join([sys.executable, "-c", """
import logging, os, sys, traceback
from pipelines.processes.forked import die_with_parent
die_with_parent()
from gato_tokenize.command_line import without
from pipelines.running.engines import UNUSED_HERE
logging.disable(logging.CRITICAL)
import grpc
with without(UNUSED_HERE):
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


def local_pipeline(workers: int, beam_options: Sequence[str] = ()) -> Callable[[], beam.Pipeline]:
    """Return a function that makes an empty pipeline on this machine, with `workers` worker processes.

    Raises RunnerError for Beam's local multi-threading, which silently loses records, and for an unknown option.
    """
    check_options(beam_options)
    return functools.partial(_local_pipeline, workers, tuple(beam_options))


def _local_pipeline(workers: int, beam_options: tuple[str, ...]) -> beam.Pipeline:
    environment = environments.SubprocessSDKEnvironment.from_command_string(_WORKER) if workers > 1 else None
    options = PipelineOptions(list(beam_options), direct_num_workers=workers)
    return beam.Pipeline(runner=FnApiRunner(default_environment=environment), options=options)


def check_options(beam_options: Sequence[str]) -> None:
    """Raise RunnerError for Beam's local multi-threading, which silently loses records, and for an unknown option."""
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
    """Pipeline begin -> the number of each partition, once it is written: all work of the plan saved in `folder`."""

    def __init__(self, folder: str, partitions: int) -> None:
        super().__init__()
        self.folder, self.count = folder, partitions

    def expand(self, begin: Any) -> Any:
        return (
            begin
            | "Partitions" >> beam.Create(range(self.count))
            | "Spread over workers" >> beam.Reshuffle()
            | "Write a shard each" >> beam.ParDo(_WritePartition(self.folder))
        )


class _WritePartition(beam.DoFn):  # type: ignore[misc]
    def __init__(self, path: str) -> None:
        self.path = path

    def setup(self) -> None:
        self.folder = WorkFolder.open(place(self.path))

    def process(self, index: int) -> Iterator[int]:
        if self.folder.done(index) is None:
            with Journal(self.folder.journal_path(index)) as journal:
                write_partition(self.folder, index, journal)
        yield index
