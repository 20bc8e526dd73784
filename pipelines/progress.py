"""Progress of a conversion, told from the files on disk: the runner's own metrics arrive only at the end."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pipelines.tally import Tally

POLL_SECONDS = 0.5
_LINE_SECONDS = 30.0  # between lines where standard error is no terminal


@contextlib.contextmanager
def shown(tally: Tally, total: int) -> Iterator[Callable[[], None]]:
    """Gives a function that reads the tally again and shows partitions done of `total`, episodes a second and time left
    on standard error; it does so once more when the block ends. It starts no thread."""
    console = Console(stderr=True)
    columns = (TextColumn("shards"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    quiet = not console.is_terminal
    tally.refresh()
    before, started, told = tally.written, time.monotonic(), [time.monotonic()]  # an earlier run's work is no rate
    with Progress(*columns, *times, console=console, disable=quiet, auto_refresh=False, redirect_stdout=False,
                  redirect_stderr=False) as bar:  # fmt: skip
        task = bar.add_task("", total=total)

        def show(last: bool = False) -> None:
            tally.refresh()
            now = time.monotonic()
            rate = (tally.written - before) / max(now - started, 1e-9)
            text = f"{tally.written} episodes, {rate:.1f}/s"
            bar.update(task, completed=len(tally.done), description=text, refresh=True)
            if quiet and (last or now - told[0] >= _LINE_SECONDS):
                print(f"{len(tally.done)}/{total} shards, {text}", file=sys.stderr, flush=True)
                told[0] = now

        try:
            yield show
        finally:
            show(last=True)


@contextlib.contextmanager
def progress(tally: Tally, total: int) -> Iterator[None]:
    """Show the progress from a thread until the block ends."""
    stop = threading.Event()

    def watch() -> None:
        with shown(tally, total) as show:
            while not stop.wait(POLL_SECONDS):
                show()

    watcher = threading.Thread(target=watch, name="progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join(timeout=5)
