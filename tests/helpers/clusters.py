"""Engines on this machine: Beam's job service, its worker pools, and commands that are killed in the middle."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from conversions import command

HELPERS = Path(__file__).parent
ROOT = HELPERS.parents[1]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return int(listener.getsockname()[1])


def environment(*first: Path, path: str = "") -> dict[str, str]:
    """Return the variables of a process that finds this package and the helpers; `python` is this one there.

    first: folders in which packages are found before. path: what PATH begins with.
    """
    python = os.pathsep.join(map(str, (*first, ROOT, HELPERS)))
    programs = os.pathsep.join(filter(None, (path, str(Path(sys.executable).parent), os.environ["PATH"])))
    return {**os.environ, "PYTHONPATH": python, "PATH": programs}


@contextlib.contextmanager
def running(words: Sequence[str], cwd: Path, variables: dict[str, str] | None = None) -> Iterator[subprocess.Popen]:
    """Run a program until the block ends; then it is killed, with all that it started. `said` reads its output."""
    number = len(list(cwd.glob("program-*.log")))
    with open(cwd / f"program-{number}.log", "wb") as log:
        process = subprocess.Popen(
            words, env=variables or environment(), cwd=cwd, stdout=log, stderr=log, start_new_session=True
        )
    process.log = cwd / log.name
    try:
        yield process
    finally:
        kill(process)


def said(process: subprocess.Popen) -> str:
    """Return the output so far of a program that `running` runs."""
    return str(process.log.read_text(errors="replace"))


def kill(process: subprocess.Popen) -> None:
    """Kill a process with all that it started, unless it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


def wait_for(condition: Callable[[], object], seconds: float = 60, what: str = "") -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.05)


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("localhost", port), timeout=1):
        return True
    return False


@contextlib.contextmanager
def server(
    words: Sequence[str], port: int, cwd: Path, variables: dict[str, str] | None = None
) -> Iterator[tuple[str, subprocess.Popen]]:
    """Run a program that listens at a port; gives its address, once it does, and the process."""
    with running(words, cwd, variables) as process:
        wait_for(lambda: listens(port), 60, " ".join(words))
        yield f"localhost:{port}", process


@contextlib.contextmanager
def service(words: Sequence[str], port: int, cwd: Path, variables: dict[str, str] | None = None) -> Iterator[str]:
    """Run a program that listens at a port; gives its address once it does."""
    with server(words, port, cwd, variables) as (address, _):
        yield address


@contextlib.contextmanager
def job_service(cwd: Path) -> Iterator[str]:
    port = free_port()
    module = "apache_beam.runners.portability.local_job_service_main"
    with service([sys.executable, "-m", module, "--port", str(port)], port, cwd) as address:
        yield address


@contextlib.contextmanager
def pool_process(cwd: Path, variables: dict[str, str] | None = None) -> Iterator[tuple[str, subprocess.Popen]]:
    """Run a worker pool; gives its address and the process."""
    port = free_port()
    words = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", "--service_port", str(port)]
    with server(words, port, cwd, variables) as found:
        yield found


@contextlib.contextmanager
def worker_pool(cwd: Path, variables: dict[str, str] | None = None) -> Iterator[str]:
    with pool_process(cwd, variables) as (address, _):
        yield address


def run(*words: str, out: str = "out/toy/1.0.0", seconds: float = 240) -> subprocess.CompletedProcess:
    """Run `convert` in a process of its own, to its end."""
    return subprocess.run(
        command(*words, out=out), env=environment(), timeout=seconds, capture_output=True, text=True, check=False
    )


def loaded() -> list[int]:
    """Return the documents that the source `faulty` has loaded so far, in order."""
    path = Path("loaded")
    return list(map(int, path.read_text().split())) if path.exists() else []
