"""A function in a fork of this process: it can be watched and killed, and never outlives its parent."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

_PR_SET_PDEATHSIG = 1


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


@contextlib.contextmanager
def forked(function: Callable[[Callable[[Any], None]], None]) -> Iterator[Forked]:
    """Run `function(send)` in a fork, and receive here what it sends. The fork is killed when the block ends.

    A fork shares what is loaded and registered here, and starts in milliseconds. Make it while no thread of this
    process holds a lock. Ctrl-C is left to this process. What `function` raises is printed on standard error and ends
    the fork with exit code 1.
    """
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_run, args=(function, sender, os.getpid()))
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


def call_forked(function: Callable[[], Any], limit: float) -> Any:
    """Return `function()`, computed in a fork; its value, or the exception that it raises, must be picklable.

    Raises what the function raises, TimeoutError after `limit` seconds, ChildProcessError if the process dies.

    >>> call_forked(lambda: 2 + 2, limit=60)
    4
    """

    def work(send: Callable[[Any], None]) -> None:
        try:
            send((function(), None))
        except Exception as error:
            send((None, error))

    with forked(work) as child:
        try:
            value, error = child.receive(limit)
        except TimeoutError:
            raise TimeoutError(f"no end after {limit:g} s") from None
        except EOFError:
            raise ChildProcessError(f"the process died of {child.end()}") from None
    if error is not None:
        raise error
    return value


def _run(function: Callable[[Callable[[Any], None]], None], sender: "Connection[Any, Any]", parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    if os.getppid() == parent:
        function(sender.send)
    os._exit(0)  # a normal end would wait for threads that nothing ends


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it has ended; on Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
