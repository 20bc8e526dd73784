"""The Beam pipeline of a conversion: on local processes, or on any other runner."""

import argparse
import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms import environments

from gato_tokenize.storage.dataset import DatasetTokenizer
from pipelines.conversion.journal import Journal
from pipelines.conversion.plan import Plan
from pipelines.conversion.work_folder import PLAN, journal_path, read_done
from pipelines.conversion.write_partition import write_partition
from pipelines.running.progress import Tally, progress

LOCAL_RUNNER = "FnApiRunner"
# What Beam's multi_processing mode starts, but silent: its workers tell of every channel that they open and of what
# they raise, which the parent is told anyway. A channel that is closed is the parent's doing, as when another worker
# has failed: no death, and the interpreter's own end may abort. Ctrl-C is left to the parent of all.
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


def pipeline_maker(runner: str, workers: int, rest: list[str]) -> Callable[[], beam.Pipeline]:
    """What makes an empty pipeline on the local runner with so many processes, or on any other runner.

    `rest` is Beam's own command line.

    Raises RunnerError for local multi-threading, which silently loses records, and for options that nobody knows.
    """
    if any("multi_threading" in word for word in rest):
        raise RunnerError(
            "direct_running_mode=multi_threading silently loses records in Beam's local runner: use --workers N, which"
            " runs processes"
        )
    unknown = _unknown(rest)
    if unknown:
        raise RunnerError(f"unknown option {unknown[0]}: neither this command nor Beam has it")
    if runner != LOCAL_RUNNER:
        if workers != 1:
            raise RunnerError(f"--workers is for the local {LOCAL_RUNNER}; give {runner}'s own option for workers")
        return lambda: beam.Pipeline(options=PipelineOptions(rest, runner=runner))
    environment = environments.SubprocessSDKEnvironment.from_command_string(_WORKER) if workers > 1 else None
    options = PipelineOptions(rest, direct_num_workers=workers)
    return lambda: beam.Pipeline(runner=FnApiRunner(default_environment=environment), options=options)


def _unknown(rest: list[str]) -> list[str]:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for cls in PipelineOptions.__subclasses__():
        if "_add_argparse_args" in cls.__dict__:
            with contextlib.suppress(argparse.ArgumentError):
                cls._add_argparse_args(parser)
    return [word for word in parser.parse_known_args(rest)[1] if word.startswith("-")]


class WritePartitions(beam.PTransform):  # type: ignore[misc]
    """Pipeline begin -> the done-file of each partition of the plan saved in `folder`: a whole conversion's work."""

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
    def __init__(self, folder: str) -> None:
        self.folder = folder

    def setup(self) -> None:
        folder = Path(self.folder)
        self.plan = Plan.from_json((folder / PLAN).read_text())
        self.tokenizer = DatasetTokenizer.load(folder)

    def process(self, index: int) -> Iterator[int]:
        folder = Path(self.folder)
        if read_done(folder, self.plan, index) is None:
            with Journal(journal_path(folder, index)) as journal:
                write_partition(folder, self.plan, self.tokenizer, index, journal)
        yield index


def _run_elsewhere(plan: Plan, folder: Path, make_pipeline: Callable[[], beam.Pipeline]) -> None:
    pipeline = make_pipeline()  # not before it is needed: one that never runs leaves a temporary folder
    _ = pipeline | WritePartitions(str(folder), len(plan.partitions))
    with progress(Tally(plan, folder), len(plan.partitions)):
        pipeline.run().wait_until_finish()
