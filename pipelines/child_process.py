"""ChildProcess: calls in a process of its own, each with a time limit; what hangs or crashes there is an exception."""

import concurrent.futures
import multiprocessing
import multiprocessing.context
import os
import pickle
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import pebble

START = 120.0  # seconds that a process may take to start and warm up, imports on a busy machine included
GRACE = 10.0  # seconds after its limit at which a call ends its own process, should the parent be gone
_starting = threading.Lock()


class _SpawnProcess(multiprocessing.context.SpawnProcess):
    """Spawned without the parent's `__main__`: a script without a guard, or Beam's worker, is not run again."""

    def start(self) -> None:
        main = sys.modules["__main__"].__dict__
        with _starting:  # two threads at once would restore each other's absence
            hidden: dict[str, Any] = {name: main[name] for name in ("__spec__", "__file__") if name in main}
            main.pop("__file__", None)
            main["__spec__"] = None
            try:
                super().start()
            finally:
                main.update(hidden)


class _SpawnContext(multiprocessing.context.SpawnContext):
    Process = _SpawnProcess


class ChildProcess:
    """One process that makes calls in turn, started at the first and again after a call that killed it.

    `warm_up(*args)` is called in every new process first, outside the time limit: imports belong there; `warmed` is
    what it returned last. Close it, or use it in `with`; a call after that starts a process for itself alone. Not to
    be shared by threads.

    >>> with ChildProcess(abs, 0) as child:
    ...     child.call(divmod, 7, 2, limit=60)
    (3, 1)
    """

    def __init__(self, warm_up: Callable[..., Any], *args: Any) -> None:
        self._warm_up = (warm_up, args)
        self.warmed: Any = None
        self._pool: Any = None
        self._process: Any = None  # the one that answered last; None: none did, or it may be gone
        self._warm = False
        self._closed = False

    def __enter__(self) -> "ChildProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, function: Callable[..., Any], *args: Any, limit: float) -> Any:
        """`function(*args)`, all of it picklable.

        Raises what the function raises (RuntimeError with type and message, where the exception cannot be pickled or
        is no Exception), TimeoutError after `limit` seconds, ChildProcessError where the process dies.
        """
        try:
            if not self._warm:
                self.warmed = self._run(*self._warm_up, limit=START)
                self._warm = True
            return self._run(function, args, limit)
        except BaseException:
            if self._process is None:
                self._stop()
            raise
        finally:
            if self._closed:
                self._stop()

    def close(self) -> None:
        """Kill the process and wait for its end. It can be called twice."""
        self._closed = True
        self._stop()

    def _stop(self) -> None:
        pool, self._pool, self._process, self._warm = self._pool, None, None, False
        if pool is not None:
            pool.stop()
            pool.join()

    def _run(self, function: Callable[..., Any], args: tuple[Any, ...], limit: float) -> Any:
        if self._pool is None:
            arguments = (os.getpid(),)
            self._pool = pebble.ProcessPool(1, initializer=_begin, initargs=arguments, context=_SpawnContext())
        process, self._process = self._process, None
        future = self._pool.schedule(_answer, (function, args, limit), timeout=limit)
        _wait(future, process, limit)
        try:
            pid, error, value = future.result()
        except TimeoutError as late:
            raise TimeoutError(f"no end after {limit:g} s") from late
        except (pebble.ProcessExpired, concurrent.futures.process.BrokenProcessPool) as crash:
            raise ChildProcessError(f"the process died of {_cause(getattr(crash, 'exitcode', None))}") from crash
        self._process = next((child for child in multiprocessing.active_children() if child.pid == pid), None)
        if error:
            raise _exception(*value)
        return value


def _wait(future: Any, process: Any, limit: float) -> None:
    """Return when the future is done; raise where it never will be: pebble takes a process that ends itself with exit
    code 0 for one that has done its work."""
    give_up = time.monotonic() + START + limit + GRACE
    while not concurrent.futures.wait([future], timeout=0.2).done:
        if process is not None and process.exitcode == 0:
            raise ChildProcessError("the process died of exit code 0")
        if time.monotonic() > give_up:
            raise TimeoutError(f"a process could not be started, or stopped, in {START:g} s")


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


def _begin(parent: int) -> None:
    """Runs first in the new process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # MiniGrid prints; stdout belongs to the parent
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # no handler of Python's: it would wait for native code to return
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()


def _die_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)


def _answer(function: Callable[..., Any], args: tuple[Any, ...], limit: float) -> tuple[int, bool, Any]:
    """(process id, raised?, the value or what `_exception` takes). Exceptions travel as bytes: one that cannot be
    unpickled would break the pool."""
    signal.setitimer(signal.ITIMER_REAL, limit + GRACE)  # ends native code, too, where no parent lives to do it
    try:
        return os.getpid(), False, function(*args)
    except BaseException as error:
        error.__traceback__ = None
        try:
            pickled = pickle.dumps(error)
        except Exception:
            pickled = b""
        return os.getpid(), True, (pickled, type(error).__name__, str(error))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
