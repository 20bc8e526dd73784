"""Conversions that are killed in the middle and go on from there."""

import contextlib
import functools
import itertools
import os
import random
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from clusters import kill, loaded, run, running, wait_for
from conversions import command, convert, tree

from pipelines.conversion.convert import convert as run_plan
from pipelines.conversion.plan import make_plan
from pipelines.conversion.reject_budget import RejectBudget
from pipelines.conversion.work_folder import WorkFolder
from pipelines.conversion.write_partition import write_partition
from pipelines.sources import open_source


def kill_after(seconds: float, words: Sequence[str]) -> int:
    """Run a command that is killed after so many seconds, with all that it started; returns its exit code."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    finished = process.poll()
    kill(process)
    return -signal.SIGKILL if finished is None else finished


def done_files(out: str = "out") -> dict[str, int]:
    """Return {name: time} of the done-files of the partitions of a conversion."""
    return {path.name: path.stat().st_mtime_ns for path in sorted(Path(out).rglob("part-*.done.json"))}


def wait_until_done(partitions: int) -> None:
    wait_for(lambda: len(done_files()) >= partitions, 120, f"{partitions} partitions")


def redone_nothing(before: dict[str, int], out: str = "out") -> dict[str, int]:
    """Return the done-files that there are now, after checking that none was written again."""
    now = done_files(out)
    assert before.items() <= now.items(), "a finished partition is not done again"
    return now


def killed(work: Callable[[], Any]) -> None:
    """Do some work in a fork of this process, which it must kill with SIGKILL."""
    if (child := os.fork()) == 0:
        try:
            work()
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


def write(sources: Sequence[str], out: str, last: int = 0, rejects: str = "0") -> list[int]:
    """Convert in this process, which is killed at step `last` if there is one; returns the steps of each partition."""
    steps, ends = 0, [0]

    def on_step(event: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def all_partitions(folder: WorkFolder) -> None:
        for index in folder.indices:
            write_partition(folder, index, on_step)
            ends.append(steps)

    open_source.cache_clear()
    plan, tokenizer = make_plan(sources, out)
    run_plan(plan, tokenizer, Path(out), RejectBudget(rejects), all_partitions)
    return [stop - start for start, stop in itertools.pairwise(ends)]


def killed_and_resumed(sources: Sequence[str], rejects: str = "0") -> None:
    """Convert in a fork that is killed at a random step of a partition that is not the first, in another that is killed
    in the partition in which it begins, and then to the end: no partition that is done is done again, and the bytes are
    those of a conversion that was left alone."""
    each = write(sources, "whole/toy/1.0.0", 0, rejects)
    generator = random.Random("".join(sources))
    begun = generator.randrange(1, len(each))
    done: dict[str, int] = {}
    for last in (sum(each[:begun]) + generator.randint(1, each[begun]), generator.randint(1, each[begun])):
        killed(functools.partial(write, sources, "out/toy/1.0.0", last, rejects))
        assert not Path("out/toy/1.0.0").exists()
        done = redone_nothing(done)
        assert len(done) == begun
    write(sources, "out/toy/1.0.0", 0, rejects)
    redone_nothing(done)
    assert tree("out") == tree("whole")


def killed_command_goes_on(source: str, each: int, *options: str) -> None:
    """Kill a command, with all that it started, once two partitions are done, and give it again: see `goes_on`."""
    with running(command(source, *options), Path()) as process:
        wait_until_done(2)
        kill(process)
    goes_on(source, each, *options)


def goes_on(source: str, each: int, *options: str) -> None:
    """Give a command again that ended in the middle: what it loads of `source`, a FaultySource, is of no partition that
    was done, and the bytes are those of a local run. each: documents in a partition."""
    before, finished = loaded(), {int(name.split("-")[1].split(".")[0]) for name in done_files()}
    Path("hurry").touch()
    done = run(source, *options)
    assert done.returncode == 0, done.stderr
    again = {number // each for number in loaded()[len(before) :]}
    assert finished and again and not finished & again
    assert convert(source, out="local/toy/1.0.0") == 0
    assert tree("local") == tree("out")
