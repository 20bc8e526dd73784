"""A run killed at every step; and nothing of the machine shows in the bytes."""

import glob
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conversions import (
    command,
    convert,
    everything,
    minari_file,
    slow_source,
    tree,
    write_documents,
    write_pictures,
)

from pipelines.sources import open_source


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_source.cache_clear()


KILLED = """
import mmap, os, signal, sys
from pipelines.__main__ import main

step, words = int(sys.argv[1]), sys.argv[2:]
every = step
while True:
    child = os.fork()  # nothing is imported again
    if not child:
        os.setpgid(0, 0)
        count = mmap.mmap(-1, 8)  # shared with the process of the pipeline

        def counted(call):
            def until(*arguments, **named):
                count[:] = (int.from_bytes(count[:], "little") + 1).to_bytes(8, "little")
                if int.from_bytes(count[:], "little") == every:
                    os.killpg(0, signal.SIGKILL)
                return call(*arguments, **named)
            return until

        for name in ("replace", "fsync", "rename", "mkdir"):
            setattr(os, name, counted(getattr(os, name)))
        sys.stdout = open(os.devnull, "w")
        os._exit(main(words))
    _, status = os.waitpid(child, 0)
    print(every, status, flush=True)
    input()  # the parent looks at what is there
    if status == 0:
        break
    every += step
"""


@pytest.mark.parametrize("step", [17, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(3000)])])
def test_killed_before_each_sync_and_each_rename(step: int) -> None:
    """At every one of the instants at which the state of the disk changes: no final folder, and the run goes on."""
    words = everything()
    assert convert(*words, out="whole/toy/1.0.0") == 0
    whole = tree("whole")
    script = [sys.executable, "-c", KILLED, str(step), "convert", *words, "--out", "out/toy/1.0.0"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    kills = 0
    with subprocess.Popen(script, text=True, **pipes) as process:
        assert process.stdin and process.stdout
        for line in process.stdout:
            status = int(line.split()[1])
            if Path("out/toy/1.0.0").exists():
                assert tree("out") == whole  # killed after the last rename, or not killed
            if status:
                assert status == 9
                kills += 1
                assert convert(*words) == 0
                assert tree("out") == whole
            shutil.rmtree("out")
            process.stdin.write("\n")
            process.stdin.flush()
    assert status == 0 and kills >= 60 // step


def sources_of_all_kinds() -> list[str]:
    return [write_documents(), write_pictures(), minari_file("none"), slow_source(2)]


def test_the_machine_does_not_show_in_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another folder, order of listing, age of the inputs, day, umask, hash seed, locale, time zone, user, home."""
    pytest.importorskip("h5py")
    words = [*sources_of_all_kinds(), "--validation-fraction", "0.3"]
    assert convert(*words, out="out/toy/1.0.0") == 0
    away = Path("else/where")
    away.mkdir(parents=True)
    inputs = [path for path in Path().iterdir() if path.name not in ("out", "else")]
    for path in sorted(inputs, reverse=True):  # made in another order, and long ago
        (shutil.copytree if path.is_dir() else shutil.copyfile)(path, away / path.name)
    for path in away.rglob("*"):
        os.utime(path, (10**9, 10**9))
    strange = {
        **os.environ,
        **{"PYTHONHASHSEED": "3", "TZ": "Pacific/Kiritimati", "LC_ALL": "C", "LANG": "tr_TR.UTF-8"},
        **{"HOME": str(away.resolve()), "USER": "nobody", "PYTHONOPTIMIZE": "1", "OMP_NUM_THREADS": "1"},
    }
    subprocess.run(command(*words), check=True, cwd=away, env=strange, capture_output=True, timeout=120, umask=0o077)
    assert tree("out") == tree("else/where/out")


def test_the_order_of_listing_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "bca":
        Path(f"{name}.txt").write_text(f"document {name}")
    assert convert("text:*.txt") == 0
    listed = glob.glob
    orders = []

    def other_way(pattern: str, recursive: bool = False) -> list[str]:
        orders.append(listed(pattern, recursive=recursive))
        return orders[-1][::-1]

    monkeypatch.setattr(glob, "glob", other_way)
    assert convert("text:*.txt", out="again/toy/1.0.0") == 0
    assert orders and tree("out") == tree("again")


def test_the_day_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_documents()
    assert convert(source) == 0
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 40 * 365 * 86400)
    assert convert(source, out="again/toy/1.0.0") == 0
    assert tree("out") == tree("again")
