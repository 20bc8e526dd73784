"""ChildProcess: calls in a process of its own, each with a time limit. A hang or a crash there is an exception here."""

import contextlib
import multiprocessing.context
import os
import pickle
import signal
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from multiprocessing.connection import Connection
from typing import Any

from pipelines.processes.main_module import without_main

START = 120.0  # seconds that a process may take to start and warm up, imports on a busy machine included
GRACE = 10.0  # seconds after its limit at which a call is ended from outside, if the process's own timer is gone
_LONGEST = 1e6  # seconds: a connection cannot be polled for longer


class _SpawnProcess(multiprocessing.context.SpawnProcess):
    def start(self) -> None:
        with without_main():
            super().start()


class _SpawnContext(multiprocessing.context.SpawnContext):
    Process = _SpawnProcess


class ChildProcess:
    """One process that makes calls one after the other, started at the first and again after a call that killed it.

    Every new process first calls `warm_up(*args)`, outside the time limit: imports belong there. `warmed` is what that
    returned last. Close it, or use it in `with`; a call after that starts a process for itself alone. Threads must not
    share it.

    >>> with ChildProcess(abs, 0) as child:
    ...     child.call(divmod, 7, 2, limit=60)
    (3, 1)
    """

    def __init__(self, warm_up: Callable[..., Any], *args: Any) -> None:
        self._warm_up = (warm_up, args)
        self.warmed: Any = None
        self.closed = False
        self.answered = 0  # calls that the current process has answered, including the warm-up
        self._process: Any = None
        self._pipe: Any = None
        self._warm = False

    def __enter__(self) -> "ChildProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, function: Callable[..., Any], *args: Any, limit: float) -> Any:
        """Return `function(*args)`, all of it picklable.

        Raises what the function raises (RuntimeError with type and message if that cannot be pickled or is no
        Exception), TimeoutError after `limit` seconds, ChildProcessError if the process dies.
        """
        with contextlib.closing(self.calls(function, [args], limit)) as futures:
            return next(futures).result()

    def calls(
        self, function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]], limit: float
    ) -> "Generator[Future[Any], None, None]":
        """Yield a finished future for each of `arguments` in order. Results are those of `call`, with `limit` for each.

        The process works ahead of the caller, as far as the pipe between them has room. A call that kills it costs only
        itself: the next ones have a new process. Closing the iterator early kills it; exhaust or close the iterator
        before the next call.

        >>> with ChildProcess(abs, 0) as child:
        ...     [future.result() for future in child.calls(pow, [(2, 3), (3, 2)], limit=60)]
        [8, 9]
        """
        waiting, asked = list(arguments), False
        try:
            while waiting:
                future: Future[Any] = Future()
                try:
                    if not asked:
                        self._begin()
                        self._pipe.send((function, waiting, limit))
                        asked = True
                    future.set_result(self._answer(limit))
                except Exception as error:
                    asked = asked and self._process is not None
                    future.set_exception(error)
                del waiting[0]
                yield future
        finally:
            if waiting or self.closed:
                self._stop()

    def close(self) -> None:
        """Kill the process and wait for its end. It can be called twice."""
        self.closed = True
        self._stop()

    def _begin(self) -> None:
        """Make sure that a warm process waits for a request."""
        if self._process is not None and not self._process.is_alive():
            self._stop()  # it died between calls: none is to blame
        if self._process is None:
            context = _SpawnContext()
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs, os.getpid()), daemon=True)
            self._process.start()
            theirs.close()  # so that its death is the end of the pipe
            self.answered = 0
        if not self._warm:
            function, args = self._warm_up
            self._pipe.send((function, [args], START))
            self.warmed = self._answer(START)
            self._warm = True

    def _answer(self, limit: float) -> Any:
        """Return the value of the call that the process is making, or raise what it raised."""
        try:
            data = self._pipe.recv_bytes() if self._pipe.poll(min(limit + GRACE, _LONGEST)) else None
        except (EOFError, OSError):
            self._process.join(GRACE)  # for its own exit code
            data = b""
        if not data:
            code = self._stop()
            if code == -signal.SIGALRM or data is None and code == -signal.SIGKILL:
                raise TimeoutError(f"no end after {limit:g} s")
            raise ChildProcessError(f"the process died of {_cause(code)}")
        self.answered += 1
        raised, answer = pickle.loads(data)
        if raised:
            raise _exception(*answer)
        return answer

    def _stop(self) -> int | None:
        """Kill the process, if there is one; returns its exit code."""
        process, self._process, self._warm = self._process, None, False
        if process is None:
            return None
        self._pipe.close()
        process.kill()
        process.join()
        code: int | None = process.exitcode
        process.close()
        return code


def _cause(exitcode: int | None) -> str:
    if exitcode is None or exitcode >= 0:
        return "an unknown cause" if exitcode is None else f"exit code {exitcode}"
    return signal.Signals(-exitcode).name


def _exception(pickled: bytes, name: str, message: str) -> Exception:
    try:
        error = pickle.loads(pickled)
    except Exception:  # a class of a module that the parent cannot import, or one with arguments of its own
        error = None
    return error if isinstance(error, Exception) else RuntimeError(f"{name}: {message}")


def _serve(pipe: Connection, parent: int) -> None:
    """Answer requests, in the new process, until the parent closes the pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # stdout belongs to the parent, and MiniGrid prints
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a handler of Python's would wait for native code to return
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        while True:
            function, arguments, limit = pipe.recv()
            for args in arguments:
                pipe.send_bytes(_called(function, args, limit))
    os._exit(0)  # a normal end would wait for threads that an environment started


def _die_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)


def _called(function: Callable[..., Any], args: tuple[Any, ...], limit: float) -> bytes:
    """Return (False, the value) or (True, the arguments of `_exception`), pickled. The process dies after `limit`."""
    try:
        signal.setitimer(signal.ITIMER_REAL, limit)  # ends native code, too, even if the parent is dead
        try:
            value = function(*args)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return pickle.dumps((False, value), pickle.HIGHEST_PROTOCOL)
    except BaseException as error:
        error.__traceback__ = None
        try:
            pickled = pickle.dumps(error)
        except Exception:
            pickled = b""
        return pickle.dumps((True, (pickled, type(error).__name__, str(error))))
