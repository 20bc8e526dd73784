"""A remote runner: the whole portable protocol, with Beam's own job service and worker pool on this machine."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conversions import convert, slow_source, tree, write_documents


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def service(module: str, option: str, folder: Path) -> Iterator[str]:
    """Start one of Beam's services in `folder`; gives its address once it listens."""
    port = free_port()
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    words = [sys.executable, "-m", f"apache_beam.runners.{module}", option, str(port)]
    process = subprocess.Popen(words, env=environment, cwd=folder, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("localhost", port), timeout=1):
                break
            time.sleep(0.1)
        yield f"localhost:{port}"
    finally:
        process.kill()
        process.wait(10)


def test_a_portable_runner_makes_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = (write_documents(), slow_source(30) + "&image=rgb", "--validation-fraction", "0.3")
    assert convert(*words, out=str(tmp_path / "local/toy/1.0.0")) == 0
    with (
        service("portability.local_job_service_main", "--port", tmp_path) as jobs,
        service("worker.worker_pool_main", "--service_port", tmp_path) as workers,
    ):
        remote = ("--runner", "PortableRunner", "--job_endpoint", jobs)
        environment = ("--environment_type", "EXTERNAL", "--environment_config", workers)
        run = [sys.executable, "-m", "pipelines", "convert", *words, "--out", str(tmp_path / "remote/toy/1.0.0")]
        subprocess.run([*run, *remote, *environment], check=True, timeout=120, capture_output=True)
    assert tree("local") == tree("remote")
