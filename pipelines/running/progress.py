"""Progress of a conversion, told from the files on disk: the runner's own metrics arrive only at the end."""

import contextlib
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pipelines.conversion.journal import JournalReader
from pipelines.conversion.plan import Plan
from pipelines.conversion.work_folder import done_path, journal_path, quarantine_path, read_quarantine
from pipelines.sources.source import Reject

POLL_SECONDS = 0.5
_LINE_SECONDS = 30.0  # between lines where standard error is no terminal


_START_SECONDS = 120.0  # for the imports of many processes on a busy machine


class Tally:
    """What is done and what is in flight in the work folder of a plan, as of the last `refresh`."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan, self._folder = plan, folder
        self._partitions = range(len(plan.partitions))
        self.done: dict[int, dict[str, Any]] = {}  # {partition: "read", "written" and "rejected" of its done-file}
        self._journals: dict[int, JournalReader] = {}
        self._quarantined: dict[int, set[Reject]] = {}
        self._alive: dict[int | None, float] = {None: time.monotonic()}  # last sign of life of each, None: of any

    def refresh(self) -> None:
        names = set(os.listdir(self._folder / "_run"))
        for index in self._partitions:
            if index not in self.done and done_path(self._folder, index).name in names:
                done = json.loads(done_path(self._folder, index).read_text())
                self.done[index] = {name: done[name] for name in ("read", "written", "rejected")}
                self._alive[None] = time.monotonic()
            if index not in self.done and quarantine_path(self._folder, index).name in names:
                self._quarantined[index] = {q.reject for q in read_quarantine(self._folder, index).values()}
            self._follow(index, names)

    def _follow(self, index: int, names: set[str]) -> None:
        path = journal_path(self._folder, index)
        if path.name not in names:
            self._journals.pop(index, None)
            return
        journal = self._journals.setdefault(index, JournalReader(path))
        try:
            if journal.refresh():
                self._alive[index] = self._alive[None] = time.monotonic()
        except FileNotFoundError:  # done in this instant
            del self._journals[index]

    def forget_journals(self) -> None:
        """Remove the journals of processes that are gone."""
        for index in self.in_flight:
            journal_path(self._folder, index).unlink(missing_ok=True)
        self._journals.clear()
        self._alive = {None: time.monotonic()}

    @property
    def complete(self) -> bool:
        return len(self.done) == len(self._partitions)

    @property
    def in_flight(self) -> list[int]:
        """Partitions that somebody writes, or died of."""
        return sorted(self._journals)

    def silent_for(self) -> float:
        """Seconds since the last sign of life of the partition in flight that is silent longest; where none is in
        flight, since that of any, but for the time that processes need to start."""
        if not self._journals:
            return time.monotonic() - self._alive[None] - _START_SECONDS
        return time.monotonic() - min(self._alive[index] for index in self._journals)

    @property
    def written(self) -> int:
        """Episodes in the partitions that are done."""
        return sum(int(done["written"]) for done in self.done.values())

    @property
    def reasons(self) -> dict[str, int]:
        """Rejects by reason, with those of other partitions as far as their journals and quarantines tell."""
        total: Counter[str] = Counter()
        for done in self.done.values():
            total.update(done["rejected"])
        for index in {*self._journals, *self._quarantined} - set(self.done):
            rejects = set(self._journals[index].rejects) if index in self._journals else set()
            total.update(reject.reason for reject in rejects | self._quarantined.get(index, set()))
        return dict(total)

    @property
    def most(self) -> int | None:
        """So many episodes will be read at most; None where a partition to come does not say how many it has."""
        total = 0
        for index in self._partitions:
            count = self.done[index]["read"] if index in self.done else self._count(index)
            if count is None:
                return None
            total += count
        return total

    def _count(self, index: int) -> int | None:
        work = self._plan.partitions[index]
        retry = work.get("retry")
        if retry:
            return None if retry["from"] is not None else len(retry["only"])
        known = [count for count in (work["partition"].get("count"), work.get("limit")) if isinstance(count, int)]
        return min(known, default=None)


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
