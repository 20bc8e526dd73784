import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from pipelines.child_process import ChildProcess


def _gone(pid: int, within: float) -> bool:
    """Whether a process ends in time; a zombie that nobody reaps has ended."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
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
    from pipelines.child_process import ChildProcess
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
