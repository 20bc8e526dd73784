"""A remote runner: the whole portable protocol, with Beam's own job service and worker pool on this machine."""

import contextlib
import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conversions import convert, elsewhere, slow_source, tree, write_documents
from s3_server import s3_server

from gato_tokenize.storage.store_path import StorePath
from pipelines.running.beam_pipeline import RunnerError, check_worker


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def service(module: str, option: str, folder: Path) -> Iterator[str]:
    """Start one of Beam's services in `folder`; gives its address once it listens."""
    port = free_port()
    environment = {**elsewhere(), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
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


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, ...]]:
    """Start Beam's own job service and a worker pool; gives the options of `convert` that use them."""
    with (
        service("portability.local_job_service_main", "--port", folder) as jobs,
        service("worker.worker_pool_main", "--service_port", folder) as workers,
    ):
        remote = ("--runner", "PortableRunner", "--job_endpoint", jobs)
        yield *remote, "--environment_type", "EXTERNAL", "--environment_config", workers


def run_remotely(*words: str) -> None:
    run = [sys.executable, "-m", "pipelines", "convert", *words]
    subprocess.run(run, env=elsewhere(), check=True, timeout=240, capture_output=True)


def test_a_portable_runner_makes_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = (write_documents(), slow_source(30) + "&image=rgb", "--validation-fraction", "0.3")
    assert convert(*words, out=str(tmp_path / "local/toy/1.0.0")) == 0
    with cluster(tmp_path) as beam_options:
        run_remotely(*words, "--out", str(tmp_path / "remote/toy/1.0.0"), *beam_options)
    assert tree("local") == tree("remote")


def test_remote_workers_write_into_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An episode that kills its process among them; the workers see neither the launcher's journals nor its lease."""
    monkeypatch.chdir(tmp_path)
    words = (write_documents(), "faulty_source:FaultySource:40?bad=13&fault=segfault", "--max-rejects", "1")
    assert convert(*words, out=str(tmp_path / "local/toy/1.0.0")) == 0
    with s3_server(monkeypatch), cluster(tmp_path) as beam_options:
        run_remotely(*words, "--out", "s3://bucket/remote/toy/1.0.0", *beam_options)
        folder = StorePath("s3://bucket/remote")
        found = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in folder.files()}
    assert found == tree("local")


def test_a_poisonous_episode_costs_itself_on_a_remote_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It kills the process that writes its partition, or holds it up: it is a reject as it is in a local run."""
    monkeypatch.chdir(tmp_path)
    source = "faulty_source:FaultySource:40?bad=13,27&fault={fault}"
    for fault in "segfault", "hang":
        words = (source.format(fault=fault), "--max-rejects", "2", "--stall-timeout", "4")
        assert convert(*words, out=str(tmp_path / f"local-{fault}/toy/1.0.0")) == 0
    with cluster(tmp_path) as beam_options:
        for fault in "segfault", "hang":
            words = (source.format(fault=fault), "--max-rejects", "2", "--stall-timeout", "4")
            run_remotely(*words, "--out", str(tmp_path / f"remote-{fault}/toy/1.0.0"), *beam_options)
            assert tree(f"local-{fault}") == tree(f"remote-{fault}")


def test_a_worker_that_does_not_see_the_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunnerError, match=f"the worker on {socket.gethostname()} does not see {tmp_path}/nowhere"):
        check_worker(tmp_path / "nowhere")
