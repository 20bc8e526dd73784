"""Conversions on Prism: one that runs as a server, two worker pools, each a process group that is killed."""

import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import (
    ROOT,
    command,
    environment,
    free_port,
    kill,
    loaded,
    pool_process,
    run,
    running,
    said,
    service,
    wait_for,
    worker_pool,
)
from conversions import convert, slow_source, tree, write_documents, write_pictures
from killed import goes_on, killed_command_goes_on, wait_until_done

FAULTY = "faulty_source:FaultySource:40"
PRISM = shutil.which("prism") or ""


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not PRISM:
        pytest.skip("there is no program prism on PATH: docs/clusters.md says how to build it")
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)


@pytest.fixture
def prism(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    words = [PRISM, f"--job_port={port}", "--serve_http=false"]
    with service(words, port, tmp_path) as address:
        yield address


def test_two_worker_pools_make_the_same_bytes(prism: str, tmp_path: Path) -> None:
    words = (write_documents(), write_pictures(), slow_source(60) + "&image=rgb", "--validation-fraction", "0.3")
    assert convert(*words, out="local/toy/1.0.0") == 0
    with pool_process(tmp_path) as (one, first), pool_process(tmp_path) as (two, second):
        pools = ("--worker-pools", f"{one},{two}")
        done = run(*words, "--engine", "prism", "--engine-address", prism, *pools, out="remote/toy/1.0.0")
        assert done.returncode == 0, done.stderr
        assert all("Starting worker with command" in said(pool) for pool in (first, second)), "each pool has worked"
    assert tree("local") == tree("remote")


def test_prism_is_started_and_ended_by_the_command() -> None:
    words = (write_documents(),)
    assert convert(*words, out="local/toy/1.0.0") == 0
    done = run(*words, "--engine", "prism", out="remote/toy/1.0.0")
    assert done.returncode == 0, done.stderr
    assert tree("local") == tree("remote")


def test_a_killed_worker_pool_costs_what_it_was_writing(prism: str, tmp_path: Path) -> None:
    """The job fails, the command ends by itself, and the same command, with a pool that lives, does the rest."""
    words = (f"{FAULTY}?pause=0.3&each=4", "--engine", "prism", "--engine-address", prism, "--stall-timeout", "20")
    with worker_pool(tmp_path) as one:
        with pool_process(tmp_path) as (two, process):
            with running([*command(*words), "--worker-pools", f"{one},{two}"], Path()) as job:
                wait_until_done(2)
                kill(process)
                assert job.wait(200) == 1, said(job)
                assert "the same command goes on from there" in said(job)
        goes_on(words[0], 4, *words[1:], "--worker-pools", one)


def test_a_killed_command_goes_on(prism: str, tmp_path: Path) -> None:
    """The command, the engine and the workers are killed at one instant, as when the machine loses its power."""
    killed_command_goes_on(f"{FAULTY}?pause=0.3&each=4", 4, "--engine", "prism")


@pytest.mark.parametrize("fault", ["segfault", "hang"])
def test_a_poisonous_episode_costs_itself(fault: str, prism: str, tmp_path: Path) -> None:
    words = (f"{FAULTY}?bad=13,27&fault={fault}", "--max-rejects", "2", "--stall-timeout", "4")
    assert convert(*words, out="local/toy/1.0.0") == 0
    with worker_pool(tmp_path) as one, worker_pool(tmp_path) as two:
        engine = ("--engine", "prism", "--engine-address", prism, "--worker-pools", f"{one},{two}")
        done = run(*words, *engine, out="remote/toy/1.0.0")
    assert done.returncode == 0, done.stderr
    assert tree("local") == tree("remote")


def test_a_worker_pool_that_cannot_start_python_is_reported(prism: str, tmp_path: Path) -> None:
    """It starts the `python` that is first on its PATH, which may be one without this package."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to("/bin/false")
    with worker_pool(tmp_path, environment(path=str(tmp_path / "bin"))) as pool:
        words = ("--engine", "prism", "--engine-address", prism, "--worker-pools", pool)
        done = run(write_documents(), *words, "--stall-timeout", "5", seconds=200)
    assert done.returncode in (1, 2) and not Path("out/toy/1.0.0").exists()
    assert "no worker answered" in done.stderr or "didn't get control connection" in done.stderr


def test_a_worker_of_another_release_is_named(prism: str, tmp_path: Path) -> None:
    for package in ("gato_tokenize", "pipelines"):
        shutil.copytree(ROOT / package, tmp_path / "old" / package)
    (tmp_path / "old/gato_tokenize/version.py").write_text('"""Older."""\n\n__version__ = "0.0.1"\n')
    with worker_pool(tmp_path, environment(tmp_path / "old")) as pool:
        done = run(write_documents(6), "--engine", "prism", "--engine-address", prism, "--worker-pools", pool)
    assert done.returncode == 2 and not Path("out/toy/1.0.0").exists()
    assert f"gato-data: the worker on {socket.gethostname()} has gato-toolchain 0.0.1 (code " in done.stderr


def test_ctrl_c_cancels_the_job(prism: str, tmp_path: Path) -> None:
    words = (f"{FAULTY}?pause=1", "--engine", "prism", "--engine-address", prism)
    with worker_pool(tmp_path) as one, running([*command(*words), "--worker-pools", one], Path()) as job:
        wait_for(loaded, 120, "an episode")
        job.send_signal(2)
        assert job.wait(60) == 130
        wait_for(rests, 40, "the workers end what they were writing, and stop")


def rests() -> bool:
    """Return whether nothing is loaded for two seconds."""
    before = len(loaded())
    time.sleep(2)
    return len(loaded()) == before
