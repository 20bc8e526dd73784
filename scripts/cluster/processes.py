"""Programs that are started together, waited for, and stopped together."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path


class Programs:
    """Started programs, the first first. `folder` gets a log of each."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._started = folder, list[subprocess.Popen[bytes]]()

    def start(self, name: str, words: Sequence[str], variables: dict[str, str] | None = None) -> None:
        with open(self._folder / f"{name}.log", "wb") as log:
            environment = {**os.environ, **(variables or {})}
            self._started.append(
                subprocess.Popen(words, env=environment, stdout=log, stderr=log, start_new_session=True)
            )

    def wait_for(self, what: str, condition: Callable[[], bool], seconds: float = 120) -> None:
        """Raise SystemExit if the condition does not come true, or a program ends before."""
        give_up = time.monotonic() + seconds
        while not condition():
            if any(program.poll() is not None for program in self._started) or time.monotonic() > give_up:
                sys.exit(f"no {what}: see the logs in {self._folder}")
            time.sleep(0.2)

    def stop(self) -> None:
        for program in reversed(self._started):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGTERM)
        for program in reversed(self._started):
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)


@contextlib.contextmanager
def programs(folder: Path) -> Iterator[Programs]:
    """Start programs in this block; all are stopped at its end, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    started = Programs(folder)
    try:
        yield started
    finally:
        started.stop()


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("localhost", port), timeout=1):
        return True
    return False


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return int(listener.getsockname()[1])


def start_worker_pool(started: Programs) -> str:
    """Start Beam's worker pool, which starts the `python` that is first on PATH; returns its address."""
    port = free_port()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    words = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", "--service_port", str(port)]
    started.start("worker-pool", words, {"PATH": path})
    started.wait_for("worker pool", lambda: listens(port))
    return f"localhost:{port}"


def run_or_wait(words: Sequence[str]) -> int:
    """Run a command and return its exit code; without one, wait for Ctrl-C."""
    if words:
        return subprocess.run(words, check=False).returncode
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()
    return 0
