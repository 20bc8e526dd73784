"""README.md of a run: its card, made of the files that the run has written."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gato_model.training.checkpoint import CONFIG, best_step
from gato_model.training.run_log import read_metrics
from gato_tokenize.markdown import fenced, markdown, markdown_table
from gato_tokenize.storage.durable import durable_file
from gato_tokenize.storage.place import RUN

CARD = "README.md"
MOST_ROWS = 20  # of losses; metrics.jsonl has all
_NUMBERS = ("loss", "accuracy", "held_out/loss", "held_out/accuracy")


def write_run_card(folder: Path, done: int, parameters: int) -> None:
    """Write the card of a run of which `done` steps are done."""
    run, config = (json.loads((folder / name).read_text(encoding="utf-8")) for name in (RUN, CONFIG))
    lines = _lines(folder, run, config, done, parameters)
    with durable_file(folder / CARD) as file:
        file.writelines(f"{line}\n".encode() for line in lines)


def _lines(
    folder: Path, run: Mapping[str, Any], config: Mapping[str, Any], done: int, parameters: int
) -> Iterator[str]:
    made_by = run.get("made_by", {})
    yield from (f"# {markdown(folder.resolve().name)}", "")
    step = f"{run['batch_size']:,} sequences of {config['sequence_length']:,} tokens"
    yield from (f"A model of {parameters:,} parameters, trained for {done:,} of {run['steps']:,} steps of {step}.", "")
    yield from _data(run["data"], made_by.get("data", []))
    yield from _losses(folder, done)
    yield from ("## Settings", "")
    yield from markdown_table(("setting", "value"), [*_settings(run), *_settings(config)])
    if made_by:
        yield from _origin(made_by)


def _data(shares: Sequence[Mapping[str, Any]], named: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield from ("## Data", "")
    whole = sum(share["weight"] for share in shares)
    names = [f"{data['dataset']} {data['version']}" for data in named] or [""] * len(shares)
    rows = [
        (name, f"{share['weight'] / whole:.1%}", _known(share["min_expert_share"]), share["manifest_sha256"])
        for name, share in zip(names, shares, strict=True)
    ]
    head = ("dataset", "of the rows", "least part of the expert's return", "manifest's sha256")
    yield from markdown_table(head, rows)


def _known(value: Any) -> Any:
    return "" if value is None else value


def _losses(folder: Path, done: int) -> Iterator[str]:
    steps: dict[int, dict[str, float]] = {}
    for line in read_metrics(folder):
        if line["step"] <= done:
            steps.setdefault(line["step"], {}).update({name: line[name] for name in _NUMBERS if name in line})
    measured = [(step, values) for step, values in sorted(steps.items()) if values]
    if not measured:
        return
    count = min(MOST_ROWS, len(measured))
    chosen = sorted({round(number * (len(measured) - 1) / max(1, count - 1)) for number in range(count)})
    rows = [
        (f"{step:,}", *(f"{values[name]:.4f}" if name in values else "" for name in _NUMBERS))
        for step, values in (measured[number] for number in chosen)
    ]
    yield from ("## Losses", "")
    yield from markdown_table(("step", "loss", "accuracy", "held-out loss", "held-out accuracy"), rows)
    best = best_step(folder)
    if best is not None:
        yield f"The checkpoint with the lowest held-out loss is that of step {best:,}."
    yield from ("`metrics.jsonl` has every logged step.", "")


def _settings(content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield (name, value) of what is one value, those of nested settings too; what was not asked for is left out."""
    for name, value in sorted(content.items()):
        if name == "optimizer":
            yield from _settings(value)
        elif isinstance(value, bool | int | float | str) and value != "":
            yield name, value


def _origin(made_by: Mapping[str, Any]) -> Iterator[str]:
    command = list(made_by["command"])
    if command[1:2] == ["train"]:
        command[0] = "gato-model"  # argv has the path of its script
    versions = ", ".join(f"{name} {version}" for name, version in made_by["versions"].items())
    yield from ("## How it was made", "", *fenced(shlex.join(command), "sh"))
    yield f"It began with {versions}."
