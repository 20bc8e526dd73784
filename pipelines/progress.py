"""Progress of a conversion, told from the done-files on disk: the runner's own metrics arrive only at the end."""

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pipelines.plan import Plan
from pipelines.write_partition import done_path

_POLL_SECONDS = 0.5
_LINE_SECONDS = 30.0  # between lines where standard error is no terminal


@contextlib.contextmanager
def progress(plan: Plan, folder: Path) -> Iterator[None]:
    """Show partitions done, episodes a second and time left on standard error until the block ends."""
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(plan, folder, stop), name="progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join(timeout=5)


def _watch(plan: Plan, folder: Path, stop: threading.Event) -> None:
    console = Console(stderr=True)
    columns = (TextColumn("shards"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    shown = (*columns, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    quiet = not console.is_terminal
    with Progress(*shown, console=console, disable=quiet, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task("", total=len(plan.partitions))
        counts: dict[int, int] = {}
        before = _count(plan, folder, counts)  # what an earlier run did tells nothing of this run's rate
        started = told = time.monotonic()
        while True:
            last = stop.wait(_POLL_SECONDS)
            episodes = _count(plan, folder, counts)
            now = time.monotonic()
            text = f"{episodes} episodes, {(episodes - before) / max(now - started, 1e-9):.1f}/s"
            bar.update(task, completed=len(counts), description=text)
            if quiet and (last or now - told >= _LINE_SECONDS):
                print(f"{len(counts)}/{len(plan.partitions)} shards, {text}", file=sys.stderr, flush=True)
                told = now
            if last:
                return


def _count(plan: Plan, folder: Path, counts: dict[int, int]) -> int:
    """Episodes in all done partitions; `counts` remembers those already seen."""
    for index in range(len(plan.partitions)):
        if index not in counts:
            with contextlib.suppress(FileNotFoundError):
                counts[index] = int(json.loads(done_path(folder, index).read_text())["written"])
    return sum(counts.values())
