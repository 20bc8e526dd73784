"""A function in a fork: what it sends arrives, how it ends is reported, and it never outlives its parent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.processes.forked import forked

Send = Callable[[Any], None]


def test_messages_arrive_in_order_and_then_the_end() -> None:
    here = {"loaded": 1}

    def work(send: Send) -> None:
        here["loaded"] += 1
        send(here["loaded"])
        send(os.getpid())

    with forked(work) as child:
        assert child.receive(60) == 2
        assert child.receive(60) != os.getpid()
        with pytest.raises(EOFError):
            child.receive(60)
        assert child.end() == "exit code 0"
    assert here == {"loaded": 1}, "a fork changes nothing here"


@pytest.mark.parametrize(
    ("end", "how"),
    [
        (lambda: os._exit(3), "exit code 3"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "SIGSEGV"),
        (lambda: {}["a lost key"], "exit code 1"),
    ],
)
def test_how_it_ended(end: Callable[[], Any], how: str) -> None:
    def work(send: Send) -> None:
        send("begun")
        end()

    with forked(work) as child:
        assert child.receive(60) == "begun"
        with pytest.raises(EOFError):
            child.receive(60)
        assert child.end() == how


def test_silence_is_told_and_the_end_of_the_block_kills() -> None:
    def work(send: Send) -> None:
        send(os.getpid())
        time.sleep(1000)

    with forked(work) as child:
        pid = child.receive(60)
        with pytest.raises(TimeoutError, match="no message within 0.01 s"):
            child.receive(0.01)
    assert not Path(f"/proc/{pid}").exists()
    child.kill()


def test_ctrl_c_is_left_to_the_parent() -> None:
    def work(send: Send) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        send("still here")

    with forked(work) as child:
        assert child.receive(60) == "still here"


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
