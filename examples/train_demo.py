"""`make train-demo` runs this: expert episodes of two BabyAI levels -> one tiny model -> how well it plays both.

    python -m examples.train_demo FOLDER

Each step is a command that you could type yourself; it is printed before it runs. If it is stopped, the next run
goes on from there.
"""

import contextlib
import json
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

TASKS = {"BabyAI-GoToRedBallGrey-v0": (8_000, 1), "BabyAI-GoToLocal-v0": (24_000, 3)}  # episodes, weight
EPISODES = 200  # of each task, on seeds that no demonstration has
HELD_OUT_SEEDS = 1_000_000
EXIT_REFUSED = 2
MODEL = ("--preset", "tiny", "--sequence-length", "256", "--set", "stochastic_depth=0")
TRAINING = (
    *("--steps", "600", "--batch-size", "32", "--learning-rate", "2e-3", "--warmup-steps", "50", "--clip-norm", "1"),
    *("--weight-decay", "0.02", "--prompt-share", "0", "--log-every", "20", "--evaluate-every", "200"),
    *("--evaluation-batches", "4", "--save-every", "100"),
)


def step(module: str, *words: str, out: Path | None = None) -> int:
    """Print a command, run it, with its output in the file `out` if there is one, and return its exit code."""
    name = {"pipelines": "gato-data", "gato_model": "gato-model"}[module]
    print(f"\n$ {shlex.join([name, *words])}{f' > {out}' if out else ''}", flush=True)
    with open(out, "w", encoding="utf-8") if out else contextlib.nullcontext() as file:
        return subprocess.run([sys.executable, "-m", module, *words], check=False, stdout=file).returncode


def needed(code: int) -> None:
    if code:
        sys.exit(code)


def collect(folder: Path, task: str, episodes: int) -> Path:
    """Convert the bot's episodes to a dataset; one that another release has begun is made anew."""
    out = folder / task.lower().replace("-", "_") / "1.0.0"
    words = ("convert", f"rollouts:{task}?episodes={episodes}&image=cells", "--out", str(out),
             "--workers", "2", "--validation-fraction", "0.02")  # fmt: skip
    code = step("pipelines", *words)
    if code == EXIT_REFUSED and out.parent.exists():
        shutil.rmtree(out.parent)
        code = step("pipelines", *words)
    needed(code)
    return out


def train(folder: Path, datasets: dict[str, Path]) -> Path:
    run = folder / "run"
    mixed = [f"{path}:{TASKS[task][1]}" for task, path in datasets.items()]
    words = ("train", "--data", *mixed, "--out", str(run), *MODEL, *TRAINING)
    code = step("gato_model", *words)
    if code == EXIT_REFUSED:  # a run of other settings or data, from another release
        shutil.rmtree(run)
        code = step("gato_model", *words)
    needed(code)
    return run


def play(folder: Path, run: Path, task: str, dataset: Path) -> dict[str, Any]:
    """Evaluate the model in a task, with a GIF of the first episode; return what `gato-model evaluate` writes.

    Actions are drawn, as in the paper: with the likeliest action each time, some episodes turn back and forth forever.
    """
    report = folder / f"{task}.json"
    where = ("--checkpoint", str(run), "--env", task, "--image", "cells", "--data", str(dataset))
    how = ("--seeds", f"{HELD_OUT_SEEDS}:{EPISODES}", "--rows", "100", "--temperature", "1")
    video = ("--video", str(folder / f"{task}.gif"))
    needed(step("gato_model", "evaluate", *where, *how, *video, "--json", out=report))
    return dict(json.loads(report.read_text())["tasks"][0])


def show(reports: dict[str, dict[str, Any]], minutes: float) -> None:
    table = Table("task", "random", "Gato, 95%", "expert", title=f"success on {EPISODES} held-out seeds")
    for task, report in reports.items():
        gato, expert = report["gato"]["success"], report["expert"]["success"]
        shown = f"{gato['mean']:.3f} [{gato['low']:.3f}, {gato['high']:.3f}]"
        table.add_row(task, f"{report['random']['success']['mean']:.3f}", shown, f"{expert:.3f}")
    Console().print(table)
    print(f"{minutes:.1f} minutes in all")


def main(folder: Path) -> None:
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    datasets = {task: collect(folder, task, episodes) for task, (episodes, _) in TASKS.items()}
    run = train(folder, datasets)
    reports = {task: play(folder, run, task, dataset) for task, dataset in datasets.items()}
    show(reports, (time.monotonic() - began) / 60)
    print("an episode of each:", *(folder / f"{task}.gif" for task in TASKS))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "train-demo-data"))
