"""Conversions on Dask: a scheduler and two workers, each a process of its own, one of which is killed."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import free_port, kill, loaded, run, running, said, service, wait_for
from conversions import command, convert, slow_source, tree, write_documents
from killed import done_files, wait_until_done

pytest.importorskip("distributed")
FAULTY = "faulty_source:FaultySource:40"


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    words = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", str(port), "--no-dashboard"]
    with service(words, port, tmp_path) as address:
        yield address


@contextlib.contextmanager
def worker(scheduler: str, cwd: Path) -> Iterator:
    words = [sys.executable, "-m", "distributed.cli.dask_worker", f"tcp://{scheduler}", "--nthreads", "1"]
    with running([*words, "--no-dashboard"], cwd) as process:
        wait_for(lambda: "Registered to" in said(process), 60, "a worker")
        yield process


def test_two_workers_make_the_same_bytes(scheduler: str, tmp_path: Path) -> None:
    words = (write_documents(), slow_source(30), "--validation-fraction", "0.3")
    assert convert(*words, out="local/toy/1.0.0") == 0
    with worker(scheduler, tmp_path), worker(scheduler, tmp_path):
        done = run(*words, "--engine", "dask", "--engine-address", scheduler, out="remote/toy/1.0.0")
    assert done.returncode == 0, done.stderr
    assert tree("local") == tree("remote")


def test_what_a_killed_worker_was_writing_is_given_to_another(scheduler: str, tmp_path: Path) -> None:
    words = (f"{FAULTY}?pause=0.3&each=4", "--engine", "dask", "--engine-address", scheduler)
    with worker(scheduler, tmp_path) as one, worker(scheduler, tmp_path), running(command(*words), Path()) as job:
        wait_until_done(2)
        kill(one)
        before, done = loaded(), done_files()
        Path("hurry").touch()
        assert job.wait(200) == 0, said(job)
    again = {number // 4 for number in loaded()[len(before) :]}
    assert not again & {int(name.split("-")[1].split(".")[0]) for name in done}
    assert convert(f"{FAULTY}?pause=0.3&each=4", out="local/toy/1.0.0") == 0
    assert tree("local") == tree("out")


@pytest.mark.parametrize("fault", ["segfault", "hang"])
def test_a_poisonous_episode_costs_itself(fault: str, scheduler: str, tmp_path: Path) -> None:
    words = (f"{FAULTY}?bad=13,27&fault={fault}", "--max-rejects", "2", "--stall-timeout", "4")
    assert convert(*words, out="local/toy/1.0.0") == 0
    with worker(scheduler, tmp_path), worker(scheduler, tmp_path):
        done = run(*words, "--engine", "dask", "--engine-address", scheduler, out="remote/toy/1.0.0")
    assert done.returncode == 0, done.stderr
    assert tree("local") == tree("remote")


def test_a_worker_that_lacks_something_is_named_as_by_any_engine(scheduler: str, tmp_path: Path) -> None:
    """Dask sends the exception itself. The second worker is another one: it was started with other code."""
    with worker(scheduler, tmp_path):
        Path("a.txt").write_text("A text.")
        done = run("text:a.txt", "--engine", "dask", "--engine-address", scheduler, "--worker-pools", "localhost:1")
    assert done.returncode == 2 and "dask has workers of its own" in done.stderr
