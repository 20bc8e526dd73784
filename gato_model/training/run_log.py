"""RunLog: a line on disk for each logged step, TensorBoard, and a bar on the screen."""

import datetime
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import rich.progress
import tensorflow as tf

from gato_model.training.checkpoint import METRICS, best_step
from gato_tokenize.output import printable_lines
from gato_tokenize.storage.durable import durable_file


class RunLog:
    """The log of a run, to be used in a `with`.

    start: the number of steps that are done; lines that a dead run logged for later ones are removed
    tokens_per_step: tokens of a global batch
    quiet: write neither to files nor to the screen, for all workers but the first
    shown: print lines and the bar
    on_line: gets each line that goes to disk
    """

    def __init__(
        self,
        folder: Path,
        start: int,
        steps: int,
        tokens_per_step: int,
        quiet: bool = False,
        shown: bool = True,
        on_line: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        self._on_line = on_line
        self._quiet, self._shown, self._steps, self._tokens = quiet, shown and not quiet, steps, tokens_per_step
        self._since: tuple[int, float] | None = None  # (steps done, time) from which on speed is measured
        if quiet:
            return
        _keep(folder / METRICS, start)
        self._file = open(folder / METRICS, "a", encoding="utf-8")
        self._board = tf.summary.create_file_writer(str(folder / "tensorboard"))
        console = rich.console.Console(file=sys.stderr)
        columns = (
            "[progress.description]{task.description}",
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeElapsedColumn(),
            "left",
            rich.progress.TimeRemainingColumn(elapsed_when_finished=False),
        )
        self._bar = rich.progress.Progress(*columns, console=console, disable=not (shown and console.is_terminal))
        self._task = self._bar.add_task("training", total=steps, completed=start)

    def __enter__(self) -> "RunLog":
        if not self._quiet:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._quiet:
            self._bar.stop()
            self._file.close()
            self._board.close()

    def advance(self, done: int) -> None:
        """Move the bar to `done` steps; speed is measured from the first on, which compiles."""
        self._since = self._since or (done, time.monotonic())
        if not self._quiet:
            self._bar.update(self._task, completed=done)

    def write(self, done: int, values: dict[str, Any]) -> None:
        """Log numbers after `done` steps, {name: number}; a "/" in a name makes a group."""
        if self._quiet:
            return
        line = {"step": done, **values}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if self._on_line is not None:
            self._on_line(line)
        with self._board.as_default(step=done):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        self._board.flush()

    def learned(self, done: int, values: dict[str, Any], message: str) -> None:
        """Log and print the numbers of the last training step, with the tokens per second since the line before.

        Neither the first step of a process, which compiles, nor an evaluation is measured.
        """
        now, rate = time.monotonic(), 0.0
        if self._since is not None and done > self._since[0]:
            rate = (done - self._since[0]) * self._tokens / max(now - self._since[1], 1e-9)
        self._since = done, now
        if not rate:
            self.write(done, values)
            return self.report(done, message)
        self.write(done, {**values, "tokens_per_second": rate})
        left = "" if self._terminal else f", {duration((self._steps - done) * self._tokens / rate)} left"
        self.report(done, f"{message}  {rate:,.0f} tokens/s{left}")

    def evaluated(self, done: int, message: str) -> None:
        """Print the result of an evaluation after `done` steps."""
        self._since = done, time.monotonic()
        self.report(done, message)

    def report(self, done: int, message: str) -> None:
        self.note(f"step {done:>6}  {message}")

    def note(self, message: str) -> None:
        """Print a line; off a terminal, where lines are kept, with the time."""
        if self._shown:
            stamp = "" if self._terminal else time.strftime("%H:%M:%S ")
            self._bar.console.print(stamp + printable_lines(message), highlight=False, markup=False, soft_wrap=True)

    @property
    def _terminal(self) -> bool:
        return not self._quiet and self._bar.console.is_terminal


def duration(seconds: float) -> datetime.timedelta:
    """Return a length of time in whole seconds, to be printed as 1:06:40."""
    return datetime.timedelta(seconds=round(seconds))


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Read the lines that a run logged, in order."""
    with open(folder / METRICS, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def best_loss(folder: Path) -> float:
    """Find the held-out loss of a run's best checkpoint; infinity if it has none yet."""
    step = best_step(folder)
    if step is None:
        return float("inf")
    lines = (line for line in read_metrics(folder) if "held_out/loss" in line)
    return float({line["step"]: line["held_out/loss"] for line in lines}.get(step, float("inf")))


def _keep(path: Path, start: int) -> None:
    """Keep the whole lines up to `start` steps: a killed run may have logged more than it saved, or half a line.

    Runs of older releases counted from 0, so that their first line is of step 0. Their lines are brought forward.
    """
    if not path.exists():
        return
    with open(path, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file if line.endswith("\n")]
    from_zero = int(bool(lines) and lines[0]["step"] == 0)
    lines = [{**line, "step": line["step"] + from_zero} for line in lines]
    kept = [json.dumps(line) + "\n" for line in lines if line["step"] <= start]
    with durable_file(path) as replacement:  # the old lines stay until the new file is whole
        replacement.write("".join(kept).encode())
