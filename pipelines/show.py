"""Show: what a dataset holds, and one episode of it decoded to text, to PNG frames or to a GIF."""

import argparse
import dataclasses
import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from gato_tokenize import Episode, TokenSequence
from gato_tokenize.dataset import Dataset
from gato_tokenize.field_spec import ContinuousSpec, ImageSpec
from gato_tokenize.records import FIELDS, Record, read_record
from gato_tokenize.view import show
from pipelines.field_stats import plain_counts
from pipelines.fit import Row
from pipelines.fit import report as fit_report
from pipelines.lints import LINTS

_FRAME_MILLISECONDS = 120
_MOST_ELEMENTS = 8  # of a field, that need a scaling


def overview(dataset: Dataset, console: Console) -> None:
    """Counts, then tables of tasks, fields, notes and lints, and the fit of continuous fields: manifest.json and
    stats.json."""
    manifest = dataset.manifest
    episodes = manifest["episodes"]
    rejected, filtered = sum(episodes["rejected"].values()), sum(episodes["filtered"].values())
    console.print(f"[bold]{manifest['dataset']} {manifest['version']}[/]  {dataset.path}", highlight=False)
    console.print(f"{episodes['written']} episodes written, {rejected} rejected, {filtered} filtered; "
                  f"made by {manifest['generator']}", highlight=False)  # fmt: skip
    stats = json.loads((dataset.path / "stats.json").read_text())
    tasks = _table("task", "split", "episodes", "timesteps", "tokens", "in the loss", "tokens by kind")
    fields = _table("task", "split", "field", "spec", "statistics")
    noticed = _table("task", "split", "kind", "what", "count")
    fit = _table("task", "split", "field", "element", "range", "clipped", "saturated", "error", "levels", "scaling")
    for split, by_task in stats.items():
        for task, counts in by_task.items():
            kinds = ", ".join(f"{kind} {count}" for kind, count in counts["tokens_by_kind"].items())
            columns = (str(counts[name]) for name in ("episodes", "steps", "tokens", "loss_tokens"))
            tasks.add_row(task, split, *columns, kinds)
            for path, field in counts["fields"].items():
                spec = dataset.tokenizer.specs[task].fields[path]
                numbers = ", ".join(
                    f"{name.replace('_', ' ')} {_short(value)}" for name, value in plain_counts(field).items()
                )
                fields.add_row(task, split, path, spec.describe(), numbers)
                if isinstance(spec, ContinuousSpec):
                    rows = fit_report(spec, path.split("/")[0] == "action", field, dataset.tokenizer.vocabulary.m)
                    for row in _fit_rows(rows):
                        fit.add_row(task, split, path, *row)
            for kind in ("note", "lint"):
                for what, count in counts[f"{kind}s"].items():
                    noticed.add_row(task, split, kind, what + (f": {LINTS[what]}" if what in LINTS else ""), str(count))
    for table in (tasks, fields, noticed, fit):
        if table.row_count:
            console.print(table)


def _fit_rows(rows: list[Row]) -> Iterator[list[str]]:
    """The field as a whole in words, then the elements that need another scaling."""
    yield rows[0].words()
    bad = [row for row in rows[1:] if row.scaling]
    yield from (row.words() for row in bad[:_MOST_ELEMENTS])
    if len(bad) > _MOST_ELEMENTS:
        yield [f"and {len(bad) - _MOST_ELEMENTS} more"]


def schema(console: Console) -> None:
    """The fields of a record."""
    table = _table("key", "kind", "content")
    for field in FIELDS:
        table.add_row(field.key, f"{field.dtype}[{'1' if field.scalar else 'n'}]", field.content)
    console.print(table)


def find_episode(dataset: Dataset, wanted: str) -> tuple[Record, Episode]:
    """The whole episode of an id, or of a number in the list of episodes; its first record carries the metadata.

    Raises KeyError where there is none, ValueError where the list is forged.
    """
    with gzip.open(dataset.path / "episodes.jsonl.gz", "rt", encoding="utf-8", newline="\n") as file:
        heads = (line for line in map(json.loads, file) if line["segment_index"] == 0)
        for number, line in enumerate(heads):
            if wanted in (line["episode_id"], str(number)):
                break
        else:
            raise KeyError(f"no episode {wanted!r}: give an id or a number below the count of episodes")
    shard = dataset.shard(line["shard"])
    records = [read_record(shard, line["record"] + segment) for segment in range(line["num_segments"])]
    whole = dataclasses.replace(records[0], sequence=TokenSequence.join([record.sequence for record in records]))
    return whole, dataset.tokenizer.task(line["task"]).decode(whole.sequence, whole.metadata)


def save_frames(episode: Episode, path: Path, field: str | None = None) -> int:
    """The pictures of one image field as `path` (.gif: all; .png: the first) or into a folder; returns their number.

    Raises ValueError where the episode has no image field, or no image field of this name.
    """
    paths = [name for name, spec in episode.spec.fields.items() if isinstance(spec, ImageSpec)]
    if not paths or (field and field not in paths):
        raise ValueError(f"no image field{f' {field!r}' if field else ''} in this episode; image fields: {paths}")
    frames = [Image.fromarray(np.asarray(frame).squeeze()) for frame in episode.fields[field or paths[0]]]
    if path.suffix == ".gif":
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=_FRAME_MILLISECONDS, loop=0)
        return len(frames)
    if path.suffix == ".png":
        frames[0].save(path)
        return 1
    path.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames):
        frame.save(path / f"{number:05d}.png")
    return len(frames)


def _table(*columns: str) -> Table:
    table = Table(show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _plain(value: Any) -> str:
    text = (
        repr(value)
        if isinstance(value, str)
        else np.array2string(np.asarray(value), precision=4, threshold=20, max_line_width=10**6)
    )
    return text if len(text) <= 200 else f"{text[:200]}..."


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", type=Path, metavar="DIR/NAME/VERSION")
    parser.add_argument("--schema", action="store_true", help="the fields of a record")
    parser.add_argument("--episode", metavar="ID|N", help="decode one episode and print it")
    parser.add_argument("--steps", type=int, default=3, metavar="N", help="timesteps of it to print (default 3)")
    parser.add_argument("--frames", type=Path, metavar="FILE.gif|FILE.png|DIR", help="save its pictures")
    parser.add_argument("--field", metavar="PATH", help="which image field (default: the first)")
    parser.add_argument("--no-colour", action="store_true", help="plain text, no pictures in the terminal")


def run(arguments: argparse.Namespace, rest: list[str]) -> int:
    """The command; returns its exit code: 0, or 2 where there is no such dataset, episode or field."""
    console = Console(no_color=arguments.no_colour, width=None if sys.stdout.isatty() else 200)
    try:
        if arguments.frames and arguments.episode is None:
            raise ValueError("--frames needs --episode")
        dataset = Dataset.open(arguments.dataset)
        if arguments.schema:
            schema(console)
        elif arguments.episode is None:
            overview(dataset, console)
        else:
            _show_episode(dataset, arguments)
    except (FileNotFoundError, KeyError, ValueError) as error:
        print(f"gato-data: {error.args[0] if isinstance(error, KeyError) else error}", file=sys.stderr)
        return 2
    return 0


def _show_episode(dataset: Dataset, arguments: argparse.Namespace) -> None:
    record, episode = find_episode(dataset, arguments.episode)
    for field in dataclasses.fields(record.metadata):
        print(f"{field.name.rstrip('_'):<14} {getattr(record.metadata, field.name)}")
    colour = sys.stdout.isatty() and not arguments.no_colour
    print(show(record.sequence, dataset.tokenizer.text, colour, arguments.steps))
    print("decoded")
    for step in range(min(arguments.steps, episode.num_steps)):
        for path, values in episode.fields.items():
            if not isinstance(episode.spec.fields[path], ImageSpec):
                print(f"  timestep {step}  {path}  {_plain(values[step])}")
    if arguments.frames:
        count = save_frames(episode, arguments.frames, arguments.field)
        print(f"{count} frames -> {arguments.frames}")
