"""Progress of a conversion, read from the files on disk: the runner's own metrics arrive only at the end."""

import contextlib
import datetime
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

from rich import progress as bars
from rich.console import Console

from gato_tokenize.byte_size import size_text
from gato_tokenize.output import counted, printable_lines
from pipelines.conversion.journal import JournalReader
from pipelines.conversion.work_folder import WorkFolder
from pipelines.sources.reading import Reject

POLL_SECONDS = 0.5
_LINE_SECONDS = 30.0  # between lines, if standard error is no terminal
_START_SECONDS = 120.0  # for the imports of many processes on a busy machine


class Progress:
    """What is done and what is in flight in a work folder, as of the last `refresh`.

    shown: say so on standard error
    """

    def __init__(self, folder: WorkFolder, shown: bool = True) -> None:
        self._folder, self.shown = folder, shown
        self.done: set[int] = set()
        self._read_done = self._bytes_done = 0
        self._reasons_done: Counter[str] = Counter()
        self._to_come = Counter(work.most for work in folder.plan.partitions)  # {most episodes: partitions to come}
        self._done_names, self._quarantine_names, self._journal_names = (
            {path_of(index).name: index for index in folder.indices}
            for path_of in (folder.done_path, folder.quarantine_path, folder.journal_path)
        )
        self._journals: dict[int, JournalReader] = {}
        self._quarantined: dict[int, set[Reject]] = {}
        self._alive: dict[int | None, float] = {None: time.monotonic()}  # last sign of life of each, None: of any

    def refresh(self) -> None:
        """Read the files that are new. There may be 100,000 partitions: one without a new file costs nothing."""
        names = self._folder.run_files()
        for name in self._done_names.keys() & names:
            self._finish(name)
        for name in self._quarantine_names.keys() & names:
            index = self._quarantine_names[name]
            if index not in self.done:
                self._quarantined[index] = set(self._folder.quarantine(index).values())
        followed = {self._journal_names[name] for name in self._journal_names.keys() & names}
        for index in self._journals.keys() - followed:
            del self._journals[index]
        for index in followed:
            self._follow(index)

    def _finish(self, name: str) -> None:
        index = self._done_names[name]
        done = self._folder.recorded(index)
        if done is not None:
            self.done.add(index)
            del self._done_names[name]
            self._bytes_done += sum(shard["bytes"] for shard in done.shards.values())
            self._read_done += done.read
            self._reasons_done.update(done.rejected)
            self._to_come[self._folder.plan.partitions[index].most] -= 1
            self._alive[None] = time.monotonic()

    def _follow(self, index: int) -> None:
        journal = self._journals.setdefault(index, JournalReader(self._folder.journal_path(index)))
        try:
            if journal.refresh():
                self._alive[index] = self._alive[None] = time.monotonic()
        except FileNotFoundError:  # done in this instant
            del self._journals[index]

    def forget_journals(self) -> None:
        """Remove the journals of processes that are gone."""
        for index in self.in_flight:
            self._folder.journal_path(index).unlink(missing_ok=True)
        self._journals.clear()
        self._alive = {None: time.monotonic()}

    @property
    def total(self) -> int:
        """The number of partitions."""
        return len(self._folder.indices)

    @property
    def complete(self) -> bool:
        return len(self.done) == self.total

    @property
    def in_flight(self) -> list[int]:
        """Partitions that a process is writing, or died writing."""
        return sorted(self._journals)

    def silent_for(self) -> float:
        """Return the seconds since the last sign of life of the partition in flight that is silent longest; if none is
        in flight, since any sign of life, less the time that processes need to start."""
        if not self._journals:
            return time.monotonic() - self._alive[None] - _START_SECONDS
        return time.monotonic() - min(self._alive[index] for index in self._journals)

    def idle_for(self) -> float:
        """Return the seconds since the last sign of life of any partition."""
        return time.monotonic() - self._alive[None]

    @property
    def read(self) -> int:
        """Episodes read so far, also in the partitions that are in flight, as of their last sign of life."""
        in_flight = (journal.read for index, journal in self._journals.items() if index not in self.done)
        return self._read_done + sum(in_flight)

    @property
    def written(self) -> int:
        """Bytes of the shards so far, also of those that are being written or that a dead process left."""
        return self._bytes_done + self._folder.storage.bytes_unfinished()

    @property
    def reasons(self) -> dict[str, int]:
        """Rejects by reason; those of partitions that are not done as far as their journals and quarantines know."""
        total = self._reasons_done.copy()
        for index in {*self._journals, *self._quarantined} - self.done:
            rejects = set(self._journals[index].rejects) if index in self._journals else set()
            total.update(reject.reason for reject in rejects | self._quarantined.get(index, set()))
        return dict(total)

    @property
    def most(self) -> int | None:
        """The largest number of episodes that may be read in all; None if a partition to come does not know its own."""
        if self._to_come[None]:
            return None
        return self._read_done + sum(most * partitions for most, partitions in self._to_come.items() if most)

    def note(self, text: str) -> None:
        """Print a line on standard error, unless nothing is to be shown."""
        if self.shown:
            print(f"gato-data: {printable_lines(text)}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def showing(progress: Progress) -> Iterator[Callable[[], None]]:
    """Give a function that refreshes the progress and shows it on standard error: episodes read, their rate, bytes
    written, the partitions that are done, and the time left; as a bar in a terminal, elsewhere as a line now and then,
    with the time of day. It is called once more when the block ends. This starts no thread."""
    console = Console(stderr=True)
    in_lines = progress.shown and not console.is_terminal
    progress.refresh()
    before, started, printed = progress.read, time.monotonic(), time.monotonic()  # an earlier run's work is no rate
    with _bar(console, progress.shown and console.is_terminal) as bar:
        task = bar.add_task("", total=progress.most, completed=progress.read)

        def show(last: bool = False) -> None:
            nonlocal printed
            progress.refresh()
            now = time.monotonic()
            rate = (progress.read - before) / max(now - started, 1e-9)
            if not progress.shown:
                return
            shards = f"{len(progress.done)} of {counted(progress.total, 'shard')}"
            size = f"{size_text(progress.written)} written"
            text = f"{counted(progress.read, 'episode')} read, {rate:.1f}/s, {size}, {shards}"
            bar.update(task, completed=progress.read, total=progress.most, description=text, refresh=True)
            if in_lines and (last or now - printed >= _LINE_SECONDS):
                left = _left(progress, rate)
                print(f"{time.strftime('%H:%M:%S')} {text}{left}", file=sys.stderr, flush=True)
                printed = now

        try:
            yield show
        finally:
            show(last=True)


def _left(progress: Progress, rate: float) -> str:
    """Say how long it takes yet, if that can be known."""
    if progress.most is None or not rate or progress.complete:
        return ""
    return f", about {datetime.timedelta(seconds=round((progress.most - progress.read) / rate))} left"


def _bar(console: Console, shown: bool) -> bars.Progress:
    text = bars.TextColumn
    columns = (bars.BarColumn(), text("{task.description}"))
    times = (bars.TimeElapsedColumn(), text("left"), bars.TimeRemainingColumn())
    return bars.Progress(*columns, *times, console=console, disable=not shown, auto_refresh=False,
                         redirect_stdout=False, redirect_stderr=False)  # fmt: skip


@contextlib.contextmanager
def showing_from_a_thread(progress: Progress) -> Iterator[Progress]:
    """Show the progress from a thread until the block ends."""
    stop = threading.Event()

    def show_until_stopped() -> None:
        with showing(progress) as show:
            while not stop.wait(POLL_SECONDS):
                show()

    thread = threading.Thread(target=show_until_stopped, name="progress", daemon=True)
    thread.start()
    try:
        yield progress
    finally:
        stop.set()
        thread.join(timeout=5)
