"""Overview of a dataset as tables in the terminal."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gato_tokenize.field_spec import ContinuousSpec
from gato_tokenize.output import counted, printable
from gato_tokenize.storage.dataset import Dataset
from gato_tokenize.storage.schema import FIELDS
from pipelines.stats.episode_stats import plain_counts
from pipelines.stats.fit import Row
from pipelines.stats.fit import report as fit_report
from pipelines.stats.lints import LINTS, equal_inputs

_WIDEST = 10_000  # characters: a table of this width has no line that is folded
_MOST_ELEMENTS = 8  # listed of a field, among those that need a scaling


def overview(dataset: Dataset, console: Console) -> None:
    """Print the counts of manifest.json, then tables of stats.json: tasks, fields, notes and lints, fit of continuous
    fields."""
    manifest = dataset.manifest
    episodes = manifest["episodes"]
    rejected, filtered = sum(episodes["rejected"].values()), sum(episodes["filtered"].values())
    name = Text(f"{manifest['dataset']} {manifest['version']}", "bold")
    console.print(name.append(f"  {printable(dataset.path)}", "not bold"))
    made = f"made by {manifest['generator']}"
    lines = [f"{counted(episodes['written'], 'episode')} written, {rejected} rejected, {filtered} filtered; {made}"]
    for line in (*lines, *equal_inputs(manifest["inputs"])):
        console.print(Text(printable(line)))
    tasks, fields, noticed, fit = (list[list[str]]() for _ in range(4))
    for split, by_task in dataset.stats.items():
        for task, counts in by_task.items():
            tasks.append([task, split, *_task_cells(counts)])
            for path, field in counts["fields"].items():
                spec = dataset.tokenizer.specs[task].fields[path]
                fields.append([task, split, path, spec.describe(), _numbers(field)])
                if isinstance(spec, ContinuousSpec) and "dimensions" in field:
                    rows = fit_report(spec, path.split("/")[0] == "action", field, dataset.tokenizer.vocabulary.m)
                    fit += [[task, split, path, *cells] for cells in _fit_cells(rows)]
            noticed += [[task, split, *cells] for cells in _noticed_cells(counts)]
    print_rows(console, tasks, ["episodes", "timesteps", "tokens", "in the loss", "tokens by kind"])
    print_rows(console, fields, ["field", "spec", "statistics"])
    print_rows(console, noticed, ["kind", "what", "count"])
    words = ["field", "element", "range", "clipped", "saturated", "error", "levels", "scaling"]
    print_rows(console, fit, words, above=3)


def _task_cells(counts: dict[str, Any]) -> list[str]:
    kinds = ", ".join(f"{kind} {count}" for kind, count in counts["tokens_by_kind"].items())
    return [*(str(counts[name]) for name in ("episodes", "steps", "tokens", "loss_tokens")), kinds]


def _numbers(field: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_short(value)}" for name, value in plain_counts(field).items())


def _noticed_cells(counts: dict[str, Any]) -> Iterator[list[str]]:
    """Yield the cells of each note and lint, lints with their meaning."""
    for kind in ("note", "lint"):
        for what, count in counts[f"{kind}s"].items():
            yield [kind, what + (f": {LINTS[what]}" if what in LINTS else ""), str(count)]


def _fit_cells(rows: list[Row]) -> Iterator[list[str]]:
    """Yield the cells of the whole field, then those of the elements that need another scaling."""
    yield rows[0].words()
    bad = [row for row in rows[1:] if row.scaling]
    yield from (row.words() for row in bad[:_MOST_ELEMENTS])
    if len(bad) > _MOST_ELEMENTS:
        yield [f"and {len(bad) - _MOST_ELEMENTS} more"]


def schema(console: Console) -> None:
    """Print a table of the fields of a record."""
    rows = [
        [field.key, f"{field.dtype}[{'1' if field.scalar else 'n'}]", field.content, field.absent] for field in FIELDS
    ]
    console.print(_table(("key", "kind", "content", "absent"), rows))


def print_rows(console: Console, rows: list[list[str]], columns: Sequence[str], above: int = 2) -> None:
    """Print rows of (task, split, *columns) as one table.

    If that is too wide, print one for each task and split with their names, the first `above` cells, above it.
    """
    names = ["task", "split", *columns]
    whole = _table(names, rows)
    if rows and console.measure(whole, options=console.options.update(width=_WIDEST)).maximum <= console.width:
        console.print(whole)
        return
    for head, group in itertools.groupby(rows, lambda row: row[:above]):
        console.print(Text(printable(", ".join(head)), "bold"))
        console.print(_table(names[above:], [row[above:] for row in group]))


def _table(columns: Sequence[str], rows: list[list[str]]) -> Table:
    """Return a table that shows its cells as they are: brackets in data are no markup. It has no empty column, and a
    narrow one breaks no word of its heading."""
    filled = [number for number in range(len(columns)) if any("".join(row[number : number + 1]) for row in rows)]
    table = Table(show_edge=False)
    for number in filled:
        table.add_column(columns[number], overflow="fold", min_width=max(map(len, columns[number].split())))
    for row in rows:
        table.add_row(*(Text(printable(row[number])) for number in filled if number < len(row)))
    return table


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
