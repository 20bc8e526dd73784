"""A function in a forked process: what it sends arrives, how it ends is reported, and it never outlives its parent."""

import contextlib
import functools
import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest

from pipelines.conversion.plan import make_plan
from pipelines.conversion.work_folder import ConvertError, WorkFolder
from pipelines.processes import forked as module
from pipelines.processes.forked import call_forked, forked, grpc_runs

Send = Callable[[Any], None]


@pytest.fixture(params=["fork of this process", "fork by the server"])
def _either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "grpc_runs", lambda: request.param == "fork by the server")


either_way = pytest.mark.usefixtures("_either_way")


def _send_twice(send: Send) -> None:
    send("first")
    send(os.getpid())


@either_way
def test_messages_arrive_in_order_and_then_the_end() -> None:
    with forked(_send_twice) as child:
        assert child.receive(60) == "first"
        assert child.receive(60) != os.getpid()
        with pytest.raises(EOFError):
            child.receive(60)
        assert child.end() == "exit code 0"


def _exit() -> None:
    os._exit(3)


def _segfault() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _raise() -> None:
    raise KeyError("a lost key")


def _begin_and(end: Callable[[], Any], send: Send) -> None:
    send("begun")
    end()


@either_way
@pytest.mark.parametrize(("end", "how"), [(_exit, "exit code 3"), (_segfault, "SIGSEGV"), (_raise, "exit code 1")])
def test_how_it_ended(end: Callable[[], Any], how: str) -> None:
    with forked(functools.partial(_begin_and, end)) as child:
        assert child.receive(60) == "begun"
        with pytest.raises(EOFError):
            child.receive(60)
        assert child.end() == how


def _sleep(send: Send) -> None:
    send(os.getpid())
    time.sleep(1000)


@either_way
def test_silence_is_told_and_the_end_of_the_block_kills() -> None:
    with forked(_sleep) as child:
        pid = child.receive(60)
        with pytest.raises(TimeoutError, match=r"no message within 0\.01 s"):
            child.receive(0.01)
    deadline = time.monotonic() + 30
    while _runs(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.kill()


def _interrupt(send: Send) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    send("still here")


@either_way
def test_ctrl_c_is_left_to_the_parent() -> None:
    with forked(_interrupt) as child:
        assert child.receive(60) == "still here"


def _here() -> tuple[str, str | None]:
    return os.getcwd(), os.environ.get("SAID_LATE")


@either_way
def test_folder_and_environment_are_those_of_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call_forked(_here, 60)  # a server has started by now
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAID_LATE", "yes")
    assert call_forked(_here, 60) == (str(tmp_path), "yes")


@contextlib.contextmanager
def _grpc() -> Iterator[None]:
    """A server and a client of gRPC in this process, so that gRPC's threads run."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        grpc.channel_ready_future(channel).result(30)
        yield
    server.stop(0).wait()


def test_forks_beside_grpc_all_live() -> None:
    with _grpc():
        assert grpc_runs()
        assert [call_forked(functools.partial(pow, 2, i), 60) for i in range(40)] == [2**i for i in range(40)]


def _lock_of(folder: WorkFolder, send: Send) -> None:
    send("held")
    time.sleep(1000)


@either_way
def test_a_lock_is_held_until_the_last_process_ends(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("words\n")
    out = tmp_path / "out/toy/1.0.0"
    plan, tokenizer = make_plan([f"text:{tmp_path / 'a.txt'}"], out, generator="test")
    folder = WorkFolder.of(plan, out)
    with contextlib.ExitStack() as stack:
        with folder.locked():
            folder.save(tokenizer)
            child = stack.enter_context(forked(functools.partial(_lock_of, folder)))
            assert child.receive(60) == "held"
        with pytest.raises(ConvertError), WorkFolder(folder.path, plan).locked():
            pass
    with WorkFolder(folder.path, plan).locked():
        pass


ORPHAN = """
import ctypes, os, signal
from pipelines.processes.forked import forked

def work(send):
    send(os.getpid())
    ctypes.PyDLL(None).sleep(1000)  # no Python code could look after the parent

with forked(work) as child:
    print(child.receive(60), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_does_not_outlive_a_parent_that_is_killed() -> None:
    done = subprocess.run([sys.executable, "-c", ORPHAN], capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 30
    while _runs(int(done.stdout)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


DAEMONIC = """
import functools, multiprocessing
from pipelines.processes.forked import call_forked

def below():
    return call_forked(functools.partial(pow, 2, 3), 60)

def work():
    print(call_forked(below, 60), flush=True)

process = multiprocessing.get_context("fork").Process(target=work, daemon=True)
process.start()
process.join()
"""


def test_a_daemonic_process_has_children_and_these_have_theirs() -> None:
    """As in a worker of Dask that plays rollouts."""
    done = subprocess.run([sys.executable, "-c", DAEMONIC], capture_output=True, text=True, timeout=120)
    assert done.stdout == "8\n", done.stderr


def test_a_fork_collects_nothing_of_its_parent() -> None:
    assert gc.get_freeze_count() == 0
    assert call_forked(gc.get_freeze_count, limit=60) > 1000
