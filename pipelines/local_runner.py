"""The Beam pipeline of a conversion: on local processes that are watched, or on any other runner."""

import _thread
import argparse
import contextlib
import logging
import os
import re
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms import environments

LOCAL_RUNNER = "FnApiRunner"
_PATIENCE = 5.0  # seconds that Beam gets to fall down after a worker died
_RESUME = "What is done is kept: the same command goes on from there"
# What Beam's multi_processing mode starts, but silent: its workers tell of every channel that they open, of where
# Ctrl-C met them, and of what they raise, which the parent is told anyway. A channel that is closed is the parent's
# doing, as when another worker has failed: no death, and the interpreter's own end may abort.
_WORKER = "exec " + shlex.join([sys.executable, "-c", """
import logging, os, signal, sys, traceback
logging.disable(logging.CRITICAL)
import grpc
from apache_beam.runners.worker import sdk_worker_main
signal.signal(signal.SIGINT, signal.SIG_DFL)
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


class WorkerDiedError(RuntimeError):
    """A worker process of a local run was killed from outside, or crashed."""


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


@contextlib.contextmanager
def silent(pipeline: beam.Pipeline) -> Iterator[None]:
    """Keep a local run from logging the traceback of what it raises anyway, once for each layer that it comes through.

    Another runner's log stays: what it raises may say less.
    """
    logger = logging.getLogger("apache_beam")
    before = logger.level
    if isinstance(pipeline.runner, FnApiRunner):
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Let Ctrl-C come out as KeyboardInterrupt, and the death of a worker process as WorkerDiedError, at once.

    Beam turns what its workers raise into errors of its own, and waits for ever for a process that was killed: only
    the thread that looks after that process learns of it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed, deaths = threading.Event(), []
    before, hook = signal.getsignal(signal.SIGINT), threading.excepthook

    def interrupt(number: int, frame: Any) -> None:
        pressed.set()
        logging.disable(logging.CRITICAL)  # of what Beam tells while it falls, nothing helps
        raise KeyboardInterrupt

    def thread_died(event: threading.ExceptHookArgs) -> None:
        if "Worker subprocess exited" in str(event.exc_value):
            deaths.append(str(event.exc_value))
            if not pressed.is_set():
                _exit_after(_PATIENCE, f"gato-data: {deaths[0]}. {_RESUME}")
                _thread.interrupt_main()
        elif not pressed.is_set():
            hook(event)

    signal.signal(signal.SIGINT, interrupt)
    threading.excepthook = thread_died
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if deaths and not _interrupted_too(deaths):
            raise WorkerDiedError(f"{deaths[0]}. {_RESUME}") from error
        if pressed.is_set():
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)
        threading.excepthook = hook


def _exit_after(seconds: float, message: str) -> None:
    """Leave the process by force, should it not have come to its end by then: Beam's threads may wait for the dead."""

    def leave() -> None:
        print(message, file=sys.stderr, flush=True)
        os._exit(1)

    timer = threading.Timer(seconds, leave)
    timer.daemon = True
    timer.start()


def io_error(error: RuntimeError) -> str | None:
    """The words of the OSError (a full disk) that a worker raised and Beam made a RuntimeError of; None for others."""
    found = re.search(r"\w+Error: \[Errno \d+\] .*?(?= \[while running|\n|$)", str(error))
    return found.group() if found else None


def _interrupted_too(deaths: list[str]) -> bool:
    """Ctrl-C reaches the workers as well, and theirs may be the first death."""
    return any(f"code {-signal.SIGINT}" in death for death in deaths)
