"""RunLog: a line on disk for each logged step, TensorBoard, and a bar on the screen."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import rich.progress
import tensorflow as tf

from gato_model.training.checkpoint import METRICS, best_step
from gato_tokenize.storage.durable import durable_file


class RunLog:
    """The log of a run, to be used in a `with`.

    start: the step that the run goes on from; lines that a dead run logged for later steps are removed
    tokens_per_step: tokens of a global batch
    quiet: write neither to files nor to the screen, for all workers but the first
    """

    def __init__(self, folder: Path, start: int, steps: int, tokens_per_step: int, quiet: bool = False) -> None:
        self._quiet, self._tokens, self._since = quiet, tokens_per_step, (start, time.monotonic())
        if quiet:
            return
        _keep_before(folder / METRICS, start)
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
        self._bar = rich.progress.Progress(*columns, console=console, disable=not console.is_terminal)
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
        """Move the bar to `done` steps."""
        if not self._quiet:
            self._bar.update(self._task, completed=done)

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Log the numbers of a step, {name: number}; a "/" in a name makes a group."""
        if self._quiet:
            return
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        with self._board.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        self._board.flush()

    def note(self, message: str) -> None:
        """Print a line that belongs to no step."""
        if not self._quiet:
            self._bar.console.print(message, highlight=False, markup=False, soft_wrap=True)

    def report(self, done: int, message: str) -> None:
        """Print a line after `done` steps, with the tokens per second since the last line."""
        if self._quiet:
            return
        (before, since), now = self._since, time.monotonic()
        self._since = (done, now)
        rate = (done - before) * self._tokens / max(now - since, 1e-9)
        self._bar.update(self._task, description=f"{rate:,.0f} tokens/s")
        self._bar.console.print(f"step {done:>6}  {message}  {rate:,.0f} tokens/s", highlight=False, markup=False)


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
    return float({line["step"] + 1: line["held_out/loss"] for line in lines}.get(step, float("inf")))


def _keep_before(path: Path, start: int) -> None:
    """Keep the whole lines of steps before `start`: a killed run may have logged more than it saved, or half a line."""
    if not path.exists():
        return
    with open(path, encoding="utf-8") as file:
        kept = [line for line in file if line.endswith("\n") and json.loads(line)["step"] < start]
    with durable_file(path) as replacement:  # the old lines stay until the new file is whole
        replacement.write("".join(kept).encode())
