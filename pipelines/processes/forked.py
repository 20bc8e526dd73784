"""A function in a forked process: it can be watched and killed, and never outlives its parent."""

import contextlib
import ctypes
import functools
import gc
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess, ForkServerProcess
from pathlib import Path
from typing import Any

from pipelines.processes.main_module import without_main

_PR_SET_PDEATHSIG = 1
_GRPC_THREADS = ("event_engine", "grpc_")  # how the names begin that gRPC gives its threads
_PRELOADED = ["pipelines.running.write_alone"]  # what most forks need: the server of forks imports it once


class Forked:
    """A running fork, made by `forked`."""

    def __init__(self, process: Any, messages: "Connection[Any, Any]") -> None:
        self._process, self._messages = process, messages

    def receive(self, seconds: float) -> Any:
        """Return the next message as soon as there is one. Raises TimeoutError after so many seconds without any,
        EOFError if the process has ended and no message is left."""
        if not self._messages.poll(seconds):
            raise TimeoutError(f"no message within {seconds:g} s")
        return self._messages.recv()

    def end(self) -> str:
        """Wait for the end of the process; returns its cause: "SIGSEGV", "exit code 3"."""
        self._process.join()
        code: int = self._process.exitcode
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def kill(self) -> None:
        """Kill the process, whatever it is doing, and wait for its end. It can be called twice."""
        self._process.kill()
        self._process.join()


class _ServedProcess(ForkServerProcess):
    def start(self) -> None:
        with without_main():
            super().start()


@contextlib.contextmanager
def forked(function: Callable[[Callable[[Any], None]], None]) -> Iterator[Forked]:
    """Run `function(send)` in a forked process, and receive here what it sends. It is killed when the block ends.

    A fork of this process shares what is loaded here and starts in milliseconds. But where gRPC runs, as in a worker of
    Beam, some forks die of gRPC's own locks. There a server is asked for the fork: a fresh process without
    threads, which is started once and ends with this one. So `function` must be picklable, and find what it needs by
    importing it. The process has this one's folder and environment. Ctrl-C is left
    to this process. What `function` raises is printed on standard error and ends the process with exit code 1.
    """
    _may_have_children()
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process: ForkProcess | ForkServerProcess
    if grpc_runs():
        multiprocessing.get_context("forkserver").set_forkserver_preload(_PRELOADED)
        process = _ServedProcess(target=_run_served, args=(function, sender, dict(os.environ)))
    else:
        process = ForkProcess(target=_run, args=(function, sender, os.getpid()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 counts the idle threads of numpy's library
        process.start()
    sender.close()
    child = Forked(process, receiver)
    try:
        yield child
    finally:
        child.kill()
        receiver.close()


def _may_have_children() -> None:
    """Let a daemonic process, such as a worker of Dask, start others, and these others still: Python forbids it because
    its end would leave them behind, but these end with it by themselves."""
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]


def grpc_runs() -> bool:
    """True if this process holds threads of gRPC; on systems other than Linux, if it has loaded gRPC."""
    threads = Path("/proc/self/task")
    if not threads.exists():
        return "grpc" in sys.modules
    for name in threads.glob("*/comm"):
        with contextlib.suppress(OSError):  # the thread has just ended
            if name.read_text(encoding="utf-8").startswith(_GRPC_THREADS):
                return True
    return False


def call_forked(function: Callable[[], Any], limit: float) -> Any:
    """Return `function()`, computed in a forked process; the function, its value and what it raises must be picklable.

    Raises what the function raises, TimeoutError after `limit` seconds, ChildProcessError if the process dies.

    >>> call_forked(functools.partial(pow, 2, 2), limit=60)
    4
    """

    with forked(functools.partial(_answer, function)) as child:
        try:
            value, error = child.receive(limit)
        except TimeoutError:
            raise TimeoutError(f"no end after {limit:g} s") from None
        except EOFError:
            raise ChildProcessError(f"the process died of {child.end()}") from None
    if error is not None:
        raise error
    return value


def _answer(function: Callable[[], Any], send: Callable[[Any], None]) -> None:
    try:
        send((function(), None))
    except Exception as error:
        send((None, error))


def _run_served(
    function: Callable[[Callable[[Any], None]], None], sender: "Connection[Any, Any]", environment: dict[str, str]
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    _run(function, sender, os.getppid())


def _run(function: Callable[[Callable[[Any], None]], None], sender: "Connection[Any, Any]", parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()  # a collection would visit, and so copy, all that the parent has loaded: 0.4 s beside TensorFlow
    die_with_parent()
    if os.getppid() == parent:
        function(sender.send)
    os._exit(0)  # a normal end would wait for threads that nothing ends


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it has ended; on Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
