"""Report on a dataset as one HTML page: its contents, its origin, episodes rebuilt from their tokens, and charts.

The page loads no other file. It is written task by task, so that memory does not grow with the dataset.
"""

import dataclasses
import hashlib
import heapq
import io
import itertools
import json
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_tokenize import ContinuousSpec, Dataset, ImageSpec, Kind, Record, TextSpec, read_record
from gato_tokenize.byte_size import size_text
from gato_tokenize.output import counted
from gato_tokenize.storage import episode_list
from gato_tokenize.storage.ranges import open_stream
from gato_tokenize.storage.store_path import files_below
from pipelines.inspection.filmstrip import filmstrip
from pipelines.stats.episode_stats import plain_counts
from pipelines.stats.fit import LEAST_LEVELS, Row
from pipelines.stats.fit import report as fit_report
from pipelines.stats.lints import LINTS, equal_inputs

SAMPLE_RECORDS, SAMPLE_TOKENS = 64, 200_000  # of each task, for the charts of values and bins
MOST_TASKS = 40  # shown with charts and episodes; the tables list all
MOST_OPEN = 4  # a page of more tasks shows them folded
SEARCH_FROM = 10  # tasks
MOST_REJECTS = 100
MOST_ELEMENTS = 64  # listed of each field in the table of fits
_COUNTS = {"episodes", "steps", "tokens", "loss_tokens", "tokens_by_kind", "unknown_pieces", "fields"}


@dataclasses.dataclass
class Lines:
    """A task as one pass over the list of episodes finds it."""

    records: int = 0
    tokens: Counter[int] = dataclasses.field(default_factory=Counter)  # {length of an episode: episodes}
    steps: Counter[int] = dataclasses.field(default_factory=Counter)
    shown: list[Any] = dataclasses.field(default_factory=list)  # heaps of (minus hash, shard, record)
    counted: list[Any] = dataclasses.field(default_factory=list)


def read_lines(dataset: Dataset, episodes: int) -> dict[str, Lines]:
    """{task: Lines}. `episodes` of each task are to be shown, SAMPLE_RECORDS records counted: those whose ids have the
    smallest hashes, which depends on no order."""
    tasks: dict[str, Lines] = {}
    tokens = steps = 0
    for line in episode_list.read_lines(dataset.path / episode_list.EPISODES):
        task = tasks.setdefault(line["task"], Lines())
        task.records += 1
        digest = hashlib.sha256(f"{line['segment_index']}:{line['episode_id']}".encode()).digest()
        place = (-int.from_bytes(digest), line["shard"], line["record"])
        _keep(task.counted, place, SAMPLE_RECORDS)
        if line["segment_index"] == 0:
            tokens = steps = 0
            _keep(task.shown, place, episodes)
        tokens, steps = tokens + line["tokens"], steps + line["steps"]
        if line["segment_index"] == line["num_segments"] - 1:  # segments stand one behind the other
            task.tokens[three_digits(tokens)] += 1
            task.steps[three_digits(steps)] += 1
    return tasks


def _keep(heap: list[Any], place: tuple[int, str, int], most: int) -> None:
    heapq.heappush(heap, place)
    if len(heap) > most:
        heapq.heappop(heap)


def three_digits(number: int) -> int:
    """Round to three digits: there are few different lengths then, however many episodes there are.

    >>> three_digits(999), three_digits(123456)
    (999, 123000)
    """
    unit: int = 10 ** max(0, len(str(number)) - 3)
    return round(number / unit) * unit


def _records(dataset: Dataset, places: list[Any]) -> Iterator[Record]:
    for _, shard, number in sorted(places, reverse=True):
        yield read_record(dataset.shard(shard), number)


@dataclasses.dataclass
class Sample:
    """Values, pixels and bins of a sample of a task's records."""

    records: int = 0
    tokens: int = 0
    values: dict[str, list[NDArray[Any]]] = dataclasses.field(default_factory=dict)  # of texts: their lengths
    pixels: dict[str, NDArray[np.int64]] = dataclasses.field(default_factory=dict)  # int64[3, 256]
    bins: dict[Kind, NDArray[np.int64]] = dataclasses.field(default_factory=dict)

    def add(self, dataset: Dataset, record: Record) -> None:
        sequence, bins = record.sequence, dataset.tokenizer.vocabulary.continuous
        episode = dataset.tokenizer.task(record.metadata.task).decode(sequence)
        for path, spec in episode.spec.fields.items():
            value = episode.fields[path]
            if isinstance(spec, ImageSpec):
                self.pixels[path] = sum(map(_pixels, value), self.pixels.get(path, np.zeros((3, 256), np.int64)))
            else:
                part = np.array([len(text) for text in value]) if isinstance(spec, TextSpec) else np.ravel(value)
                self.values.setdefault(path, []).append(part)
        for kind in (Kind.CONTINUOUS, Kind.CONTINUOUS_ACTION):
            ids = sequence.ids[sequence.kinds == kind] - bins.start
            if ids.size:
                self.bins[kind] = self.bins.get(kind, 0) + np.bincount(ids, minlength=len(bins))
        self.records += 1
        self.tokens += len(sequence)


def _pixels(frame: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count each channel's values: uint8[height, width] or uint8[height, width, 1 or 3] -> int64[3, 256]."""
    rgb = np.broadcast_to(np.atleast_3d(frame), (*frame.shape[:2], 3))
    return np.stack([np.bincount(rgb[..., channel].ravel(), minlength=256) for channel in range(3)])


def count_sample(dataset: Dataset, places: list[Any]) -> Sample:
    """Decode one record at a time until none is left or SAMPLE_TOKENS tokens are counted."""
    sample = Sample()
    for record in _records(dataset, places):
        sample.add(dataset, record)
        if sample.tokens >= SAMPLE_TOKENS:
            break
    return sample


def _charts(dataset: Dataset, task: str, lines: Lines, sample: Sample) -> Iterator[tuple[str, Any]]:
    """Yield (caption, Chart) for each of a task's charts."""
    from pipelines.inspection import charts

    tokenizer = dataset.tokenizer.task(task)
    kinds = {slot.path: slot.kind for slot in tokenizer.slots}
    specs = tokenizer.spec.fields
    yield "tokens of an episode", charts.lengths_chart(lines.tokens, Kind.SEPARATOR, "tokens")
    if tokenizer.spec.timesteps:
        yield "timesteps of an episode", charts.lengths_chart(lines.steps, Kind.SEPARATOR, "timesteps")
    for path, parts in sample.values.items():
        of, unit = ("lengths", "characters") if isinstance(specs[path], TextSpec) else ("values", "value")
        yield f"{path}: {of}", charts.values_chart(np.concatenate(parts), kinds[path], unit)
    for path, counts in sample.pixels.items():
        yield f"{path}: pixels", charts.pixels_chart(counts)
    for kind, counts in sample.bins.items():
        yield f"bins of {_kind_name(kind)} tokens", charts.bins_chart(counts, kind)


def _tasks(dataset: Dataset, lines: dict[str, Lines], steps: int) -> Iterator[dict[str, Any]]:
    """Yield what the page shows of a task beyond the tables, one task at a time."""
    from pipelines.inspection.curves import curves

    for number, name in enumerate(sorted(lines)[:MOST_TASKS], 1):
        sample = count_sample(dataset, lines[name].counted)
        yield {
            "number": number,
            "name": name,
            "spec": dataset.tokenizer.specs[name],
            "slots": dataset.tokenizer.task(name).slots,
            "records": lines[name].records,
            "episodes": sum(lines[name].tokens.values()),
            "sample": sample,
            "charts": _charts(dataset, name, lines[name], sample),
            "strips": (
                (filmstrip(dataset, record, steps), curves(dataset, record, steps))
                for record in _records(dataset, lines[name].shown)
            ),
        }


def fit_rows(dataset: Dataset, task: str, counts: dict[str, Any]) -> list[tuple[str, list[Row]]]:
    """Return (path, rows of the fit report) for each continuous field of a task; `counts` is the task's statistics."""
    specs, m = dataset.tokenizer.specs[task].fields, dataset.tokenizer.vocabulary.m
    return [
        (path, fit_report(spec, path.split("/")[0] == "action", counts["fields"][path], m)[: MOST_ELEMENTS + 1])
        for path, spec in specs.items()
        if isinstance(spec, ContinuousSpec) and "dimensions" in counts["fields"][path]
    ]


def _rejects(dataset: Dataset) -> Iterator[dict[str, Any]]:
    names = sorted(name for name in files_below(dataset.path) if re.fullmatch(r"rejects/[^/]*\.jsonl", name))
    for name in names:
        with io.TextIOWrapper(open_stream(dataset.path / name), encoding="utf-8", newline="\n") as file:
            yield from map(json.loads, file)


def notes(counts: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield (names, value) for those statistics of a task that have no column of their own.

    >>> list(notes({"tokens": 4, "notes": {"left out": 2}}))
    [(('notes', 'left out'), 2)]
    """
    for name, value in counts.items():
        if path or name not in _COUNTS:
            if isinstance(value, dict):
                yield from notes(value, (*path, name))
            else:
                yield (*path, name), value


def render(dataset: Dataset, episodes: int, steps: int) -> Iterator[str]:
    """Yield the page in parts. Raises ModuleNotFoundError if the packages of the extra `report` are missing."""
    template = _template()
    lines = read_lines(dataset, episodes)
    stats = dataset.stats
    yield from template.generate(
        dataset=dataset,
        manifest=dataset.manifest,
        stats={split: stats.get(split, {}) for split in dataset.splits},
        names=sorted(lines),
        episodes_shown=episodes,
        most_tasks=MOST_TASKS,
        most_open=MOST_OPEN,
        search_from=SEARCH_FROM,
        tasks=_tasks(dataset, lines, steps),
        kinds=list(Kind),
        rejects=itertools.islice(_rejects(dataset), MOST_REJECTS),
        most_rejects=MOST_REJECTS,
        most_elements=MOST_ELEMENTS,
        least_levels=LEAST_LEVELS,
        meanings=LINTS,
        doubles=list(equal_inputs(dataset.manifest["inputs"])),
    )


def _template() -> Any:
    """Load the page's jinja2 template, which escapes every value and refuses undefined names."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from pipelines.inspection.charts import shares_chart

    environment = Environment(
        loader=PackageLoader("pipelines.inspection"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=_number, size=size_text, counted=counted, kind=_kind_name, css=_css_name, csp=_csp
    )
    environment.globals.update(shares=shares_chart, notes=notes, plain_counts=plain_counts, fit_rows=fit_rows)
    return environment.get_template("report.html")


def _number(value: Any) -> str:
    """Format a number for people, 1234567 as 1,234,567 and 0.123456 as 0.1235; other values as `str` does."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _kind_name(kind: Kind) -> str:
    return kind.name.lower().replace("_", " ")


def _css_name(name: str) -> str:
    return name.lower().replace("_", "-").replace(" ", "-")


def _csp(script: str) -> str:
    """Return the hash by which the page's security policy recognises its only script."""
    return "sha256-" + b64encode(hashlib.sha256(script.encode()).digest()).decode()
