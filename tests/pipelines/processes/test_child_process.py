"""Calls in a process of its own: what they return, raise, hang at and crash, and that nothing is left running."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.processes.child_process import ChildProcess


def _gone(pid: int, within: float) -> bool:
    """Return whether a process ends in time; a zombie counts as ended, once its other threads are gone as well."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            if state == "Z" and len(os.listdir(f"/proc/{pid}/task")) == 1:
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_one_process_makes_all_calls_and_is_gone_when_closed() -> None:
    with ChildProcess(max, 3, 5) as child:
        pid = child.call(os.getpid, limit=60)
        assert pid != os.getpid() and child.call(os.getpid, limit=60) == pid
        assert child.warmed == 5
    assert _gone(pid, 0.5)


def test_warming_up_does_not_count_against_the_limit() -> None:
    with ChildProcess(time.sleep, 1.0) as child:
        assert child.call(abs, -1, limit=0.5) == 1


def test_after_each_way_to_die_the_next_call_has_a_new_process() -> None:
    with ChildProcess(int) as child:
        pids = [child.call(os.getpid, limit=60)]
        with pytest.raises(TimeoutError, match=r"no end after 0\.5 s"):
            child.call(time.sleep, 60, limit=0.5)
        pids.append(child.call(os.getpid, limit=60))
        for code, message in ((3, "exit code 3"), (0, "exit code 0")):
            with pytest.raises(ChildProcessError, match=message):
                child.call(os._exit, code, limit=60)
        with pytest.raises(ChildProcessError, match="SIGKILL"):
            child.call(_kill_self, limit=60)
        pids.append(child.call(os.getpid, limit=60))
    assert len(set(pids)) == 3 and all(_gone(pid, 0.5) for pid in pids)


def _kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_call_that_raises_keeps_the_process() -> None:
    with ChildProcess(int) as child:
        pid = child.call(os.getpid, limit=60)
        with pytest.raises(ValueError, match="invalid literal for int"):
            child.call(int, "x", limit=60)
        with pytest.raises(RuntimeError, match="SystemExit: 7"):
            child.call(sys.exit, 7, limit=60)
        assert child.call(os.getpid, limit=60) == pid


class TestCallsInOrder:
    def test_a_case_by_hand(self) -> None:
        with ChildProcess(int) as child:
            futures = list(child.calls(divmod, [(7, 2), (7, 0), (9, 4)], limit=60))
        assert (futures[0].result(), futures[2].result()) == ((3, 1), (2, 1))
        assert isinstance(futures[1].exception(), ZeroDivisionError)

    @pytest.mark.parametrize(
        "bad, exception, message",
        [
            (60.0, TimeoutError, r"no end after 1 s"),
            (-signal.SIGSEGV, ChildProcessError, "SIGSEGV"),
            (-signal.SIGTERM, ChildProcessError, "SIGTERM"),
            (None, TypeError, "NoneType"),
        ],
    )
    def test_a_call_that_kills_or_raises_costs_itself_alone(
        self, bad: float | None, exception: type[Exception], message: str
    ) -> None:
        with ChildProcess(int) as child:
            numbers = [0.0, 0.1, bad, 0.2, bad, 0.3]
            futures = list(child.calls(_sleep_or_die, [(number,) for number in numbers], limit=1))
        assert [future.result() for future in futures if not future.exception()] == [0.0, 0.1, 0.2, 0.3]
        for future in (futures[2], futures[4]):
            with pytest.raises(exception, match=message):
                future.result()

    def test_the_limit_is_of_each_call_alone(self) -> None:
        """Neither earlier calls count, nor the time for which a large answer waits to be received."""
        with ChildProcess(int) as child:
            for future in child.calls(_sleep_and_give, [(0.4, 2**20)] * 3, limit=1.0):
                assert len(future.result()) == 2**20
                time.sleep(1.2)

    def test_the_process_works_ahead(self, tmp_path: Path) -> None:
        with ChildProcess(int) as child:
            futures = child.calls(os.mkdir, [(str(tmp_path / name),) for name in "abc"], limit=60)
            next(futures)
            assert _within(60, lambda: (tmp_path / "c").exists())
            assert len(list(futures)) == 2

    def test_closed_early_it_kills_and_the_next_call_has_a_new_process(self) -> None:
        with ChildProcess(int) as child:
            futures = child.calls(_pid_then_sleep, [(0,), (50,)], limit=60)
            pid = next(futures).result()
            futures.close()
            assert _gone(pid, 0.5)
            assert child.call(os.getpid, limit=60) != pid

    def test_a_process_that_dies_between_calls_costs_none(self) -> None:
        with ChildProcess(int) as child:
            pid = child.call(os.getpid, limit=60)
            assert child.answered == 2  # warming up is one
            os.kill(pid, signal.SIGKILL)
            assert _gone(pid, 5)
            assert child.call(os.getpid, limit=60) != pid
            assert child.answered == 2

    def test_a_call_that_switches_the_timer_off_is_ended_from_outside(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("pipelines.processes.child_process.GRACE", 0.5)
        with ChildProcess(int) as child:
            with pytest.raises(TimeoutError, match=r"no end after 0\.5 s"):
                child.call(_sleep_without_timer, limit=0.5)

    def test_an_answer_that_cannot_be_pickled_is_that_calls_error(self) -> None:
        with ChildProcess(int) as child:
            pid = child.call(os.getpid, limit=60)
            with pytest.raises((TypeError, AttributeError, RuntimeError), match="pickle"):
                child.call(threading.Lock, limit=60)
            assert child.call(os.getpid, limit=60) == pid


def _within(seconds: float, true: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not true():
        time.sleep(0.05)
    return true()


def _sleep_or_die(seconds: float) -> float:
    if seconds < 0:
        os.kill(os.getpid(), -int(seconds))
    time.sleep(seconds)
    return seconds


def _sleep_and_give(seconds: float, size: int) -> bytes:
    time.sleep(seconds)
    return bytes(size)


def _pid_then_sleep(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def _sleep_without_timer() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
    time.sleep(60)


def test_a_process_that_could_not_warm_up_is_warmed_up_again(tmp_path: Path) -> None:
    missing = tmp_path / "later"
    with ChildProcess(os.stat, missing) as child:
        for _ in range(2):
            with pytest.raises(FileNotFoundError, match="later"):
                child.call(abs, -1, limit=60)
        missing.touch()
        assert child.call(abs, -1, limit=60) == 1 and child.warmed.st_size == 0


def test_a_call_after_close_has_a_process_for_itself() -> None:
    child = ChildProcess(int)
    child.close()
    assert _gone(child.call(os.getpid, limit=60), 0.5)


def test_threads_start_processes_at_once_and_main_stays_whole() -> None:
    before = dict(sys.modules["__main__"].__dict__)
    pids: list[int] = []

    def start() -> None:
        with ChildProcess(int) as child:
            pids.append(child.call(os.getpid, limit=60))

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(pids)) == 3
    after = sys.modules["__main__"].__dict__
    assert (after["__spec__"], after.get("__file__")) == (before["__spec__"], before.get("__file__"))


# Not guarded by `if __name__ == "__main__"`: were it run again in the child, it would print twice or never end.
SCRIPT = """
    import os, time
    from pipelines.processes.child_process import ChildProcess
    child = ChildProcess(int)
    print(child.call(os.getpid, limit=60), flush=True)
    child.call(time.sleep, {sleep}, limit=60)
"""


@pytest.mark.parametrize("end", ["exit", "interrupt", "kill"])
def test_no_child_outlives_an_unguarded_script(tmp_path: Path, end: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT).format(sleep=0 if end == "exit" else 50))
    parent = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    if end != "exit":
        time.sleep(0.3)
        parent.send_signal(signal.SIGINT if end == "interrupt" else signal.SIGKILL)
    out, error = parent.communicate(timeout=20)
    assert out == ""
    assert parent.returncode == {"exit": 0, "interrupt": -signal.SIGINT, "kill": -signal.SIGKILL}[end], error
    assert _gone(pid, 5)
