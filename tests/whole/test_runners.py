"""Remote runners: the whole portable protocol, with Beam's own job service and worker pools on this machine."""

import hashlib
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import (
    ROOT,
    environment,
    free_port,
    job_service,
    run,
    service,
    worker_pool,
)
from conversions import convert, slow_source, tree, write_documents
from killed import killed_command_goes_on
from s3_server import s3_server

from gato_tokenize.storage.store_path import StorePath

EMBEDDED = ("--engine", "portable", "--engine-address", "embed")
FAULTY = "faulty_source:FaultySource:40"


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A job service and a worker pool, which were started in other folders than those of the commands."""
    with job_service(tmp_path_factory.mktemp("jobs")) as jobs, worker_pool(tmp_path_factory.mktemp("pool")) as pool:
        yield jobs, pool


def test_an_engine_makes_the_same_bytes_from_another_folder(services: tuple[str, str]) -> None:
    """The worker pool was started elsewhere: relative paths start in the folder of the command, on every worker."""
    words = (write_documents(), slow_source(30) + "&image=rgb", "--validation-fraction", "0.3")
    assert convert(*words, out="local/toy/1.0.0") == 0
    jobs, pool = services
    options = ("--engine", "portable", "--engine-address", jobs, "--worker-pools", pool)
    done = run(*words, *options, out="remote/toy/1.0.0")
    assert done.returncode == 0, done.stderr
    raw = ("--runner", "PortableRunner", "--job_endpoint", jobs, "--environment_type", "EXTERNAL")
    done = run(*words, *raw, "--environment_config", pool, out="raw/toy/1.0.0")
    assert done.returncode == 0, done.stderr
    assert tree("local") == tree("remote") == tree("raw")


def test_a_module_in_the_folder_of_the_command_is_found_on_workers(services: tuple[str, str]) -> None:
    source = Path("own_source.py")
    source.write_text("from faulty_source import FaultySource\n\n\nclass Own(FaultySource):\n    pass\n")
    jobs, pool = services
    done = run("own_source:Own:4", "--engine", "portable", "--engine-address", jobs, "--worker-pools", pool)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("fault", ["segfault", "hang"])
def test_a_poisonous_episode_costs_itself_on_a_worker(fault: str) -> None:
    """It kills the process that writes its partition, or holds it up: it is a reject as it is in a local run."""
    words = (f"{FAULTY}?bad=13,27&fault={fault}", "--max-rejects", "2", "--stall-timeout", "4")
    done = run(*words, *EMBEDDED, out="remote/toy/1.0.0")
    assert done.returncode == 0, done.stderr
    assert convert(*words, out="local/toy/1.0.0") == 0
    assert tree("local") == tree("remote")


def test_workers_write_into_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """An episode that kills its process among them. They share neither the journals nor the lease of the command."""
    words = (write_documents(), f"{FAULTY}?bad=13&fault=segfault", "--max-rejects", "1")
    assert convert(*words, out="local/toy/1.0.0") == 0
    with s3_server(monkeypatch), worker_pool(Path()) as pool:
        options = ("--engine", "portable", "--engine-address", "embed", "--worker-pools", pool)
        done = run(*words, *options, out="s3://bucket/remote/toy/1.0.0", seconds=540)
        assert done.returncode == 0, done.stderr
        folder = StorePath("s3://bucket/remote")
        found = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in folder.files()}
    assert found == tree("local")


def test_a_killed_run_redoes_only_what_was_in_flight() -> None:
    killed_command_goes_on(f"{FAULTY}?pause=0.2&each=5", 5, *EMBEDDED)


def test_a_worker_of_another_release_is_named(services: tuple[str, str], tmp_path: Path) -> None:
    for package in ("gato_tokenize", "pipelines"):
        shutil.copytree(ROOT / package, tmp_path / "old" / package)
    (tmp_path / "old/gato_tokenize/version.py").write_text('"""Older."""\n\n__version__ = "0.0.1"\n')
    with worker_pool(tmp_path, environment(tmp_path / "old")) as pool:
        words = ("--engine", "portable", "--engine-address", services[0], "--worker-pools", pool)
        done = run(write_documents(6), *words)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("gato-data: ")]
    assert done.returncode == 2 and not Path("out/toy/1.0.0").exists()
    start = f"gato-data: the worker on {socket.gethostname()} has gato-toolchain 0.0.1 (code "
    assert line.startswith(start) and "and the command has 0.1.0 (code " in line


def test_a_worker_that_does_not_see_the_inputs_is_named(services: tuple[str, str], tmp_path: Path) -> None:
    """A mount of its own hides the folder of the command from the worker pool."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not make a mount of its own")
    hidden = tmp_path / "here/in"
    hidden.mkdir()
    (hidden / "a.txt").write_text("A text.")
    python = Path(environment()["PATH"].split(":")[0]) / "python"
    port = free_port()
    pool = f"mount -t tmpfs none {hidden} && exec {python} -m apache_beam.runners.worker.worker_pool_main"
    words = ["unshare", "-rm", "sh", "-c", f"{pool} --service_port {port}"]
    with service(words, port, tmp_path) as pool:
        done = run("text:in/*.txt", "--engine", "portable", "--engine-address", services[0], "--worker-pools", pool)
    assert done.returncode == 2
    assert f"the worker on {socket.gethostname()} does not see the input {hidden}/a.txt" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--engine", "portable"), "needs --engine-address HOST:PORT"),
        (("--engine", "flink", "--engine-address", "localhost:1"), "no flink answers at localhost:1"),
        (("--engine", "flink", "--engine-address", "8081"), "is of the form HOST:PORT"),
        (("--engine", "dask", "--worker-pools", "localhost:1"), "dask has workers of its own"),
        (("--engine-address", "localhost:1"), "are for another --engine than the local one"),
        (("--engine", "prism", "--runner", "SparkRunner"), "not both"),
        ((*EMBEDDED, "--workers", "2"), "--workers is for the local engine"),
        ((*EMBEDDED, "--streaming"), "leave out --streaming"),
        ((*EMBEDDED, "--no_such_option"), "neither this command nor Beam has it"),
        (("--runner", "NoSuchRunner"), "NoSuchRunner"),
    ],
    ids=lambda value: " ".join(value)[:40],
)
def test_what_makes_no_sense_is_refused(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("a.txt").write_text("A text.")
    assert convert("text:a.txt", *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("gato-data: ") and message in line and not Path("out").exists()


def test_a_plan_asks_no_engine(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.txt").write_text("A text.")
    words = ("--engine", "spark", "--engine-address", "localhost:1", "--json", "--dry-run")
    assert convert("text:a.txt", *words) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "toy"
