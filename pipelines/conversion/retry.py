"""A new version of a dataset: all of the old one, and what was rejected then and succeeds now.

Shards of the old version are carried over as files (hard links, or copies), under the names of the larger count; each
partition that had rejects gets one shard more, for which nothing but these is read from its source. From there on it
is a conversion like any other: planned, resumed, watched, published.
"""

import dataclasses
import gzip
import hashlib
import itertools
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gato_tokenize import __version__
from gato_tokenize.storage.dataset import MANIFEST, Dataset
from gato_tokenize.storage.durable import durable_file, sync_folder
from gato_tokenize.storage.records import SCHEMA_VERSION
from gato_tokenize.storage.tfrecord import index_path
from pipelines.conversion.plan import Plan, PlanError
from pipelines.conversion.work_folder import (
    PLAN,
    done_path,
    episodes_path,
    json_line,
    read_done,
    read_rejects,
    write_done,
)
from pipelines.sources import open_source
from pipelines.sources.source import Source


def plan_retry(dataset: Dataset, out: Path) -> tuple[Plan, Plan]:
    """(the plan of `dataset`, that of its new version `out`).

    Partitions of the old plan come first, each marked as carried over; behind them stands one for each of these that
    had rejects. Raises PlanError where there is nothing to retry, or where a spec, the schema or the name has changed.
    """
    old = Plan.from_json((dataset.path / PLAN).read_text())
    if old.sha256 != dataset.manifest["plan_sha256"]:
        raise PlanError(f"{dataset.path / PLAN} is not the plan that the manifest names: see gato-data verify")
    if out.parent.name != old.dataset or out.resolve() == dataset.path.resolve():
        raise PlanError(f"a retry makes another version of {old.dataset}: give --out DIR/{old.dataset}/VERSION")
    if old.schema_version != SCHEMA_VERSION:
        raise PlanError(
            f"{dataset.path} has schema version {old.schema_version}, this release writes {SCHEMA_VERSION}: convert"
            " anew, into another version"
        )
    retries = [retry for index in range(len(old.partitions)) for retry in _retries(dataset, old, index)]
    if not retries:
        raise PlanError(f"{dataset.path} has no rejects: there is nothing to retry")
    inputs = [*old.inputs, _fingerprint(dataset)]
    for name in dict.fromkeys(work["source"] for work in retries):
        inputs += [given for given in _inputs(_checked(dataset, name)) if given not in inputs]
    carried = tuple({**work, "carried": True} for work in old.partitions)
    return old, dataclasses.replace(
        old,
        version=out.name,
        partitions=(*carried, *retries),
        inputs=tuple(inputs),
        generator=f"gato-toolchain {__version__}",
    )


def _retries(dataset: Dataset, old: Plan, index: int) -> Iterator[dict[str, Any]]:
    """The work to do again of partition `index`: none, or one piece."""
    letters = read_rejects(dataset.path, index)
    if not letters:
        return
    work = old.partitions[index]
    before: dict[str, Any] = work.get("retry") or {"number": _number(old, index), "from": None}
    lost = json.loads(done_path(dataset.path, index).read_text())["rest_lost"]
    start = None
    if lost:
        del letters[lost["letter"]]  # it stands for no episode of its own
        if "retry" not in work or before["from"] is not None:  # else all that was asked for has a letter
            start = max(lost["from"], before["from"] or 0)
    only = [[letter.source_uri, letter.source_index, letter.episode_id] for letter in letters]
    piece = _piece(_checked(dataset, work["source"]), old, work["partition"], before["number"])
    retry = {"number": before["number"], "only": only, "from": start}
    limit = {"limit": work["limit"]} if "limit" in work else {}
    yield {"source": work["source"], "partition": piece, "retry": retry, **limit}


def _number(plan: Plan, index: int) -> int:
    """Which of its source's pieces a partition is."""
    source = plan.partitions[index]["source"]
    return sum(work["source"] == source and "retry" not in work for work in plan.partitions[:index])


def _piece(source: Source, old: Plan, piece: dict[str, Any], number: int) -> dict[str, Any]:
    """The piece as it was planned, where the inputs are as they were; else the one of its number in a new plan."""
    if all(given in old.inputs for given in _inputs(source)):
        return piece
    pieces = source.partitions()
    known = sum(work["source"] == source.source and "retry" not in work for work in old.partitions)
    if len(pieces) != known:
        raise PlanError(
            f"{source.source} has other inputs now, cut into {len(pieces)} partitions, not {known}: what was rejected"
            " cannot be found there. Convert anew, into another version"
        )
    return pieces[number]


def _inputs(source: Source) -> list[dict[str, Any]]:
    return [{"source": source.source, **given} for given in source.inputs()]


def _checked(dataset: Dataset, name: str) -> Source:
    """The source; PlanError where a spec of it is not the one that the dataset was made with."""
    source = open_source(name)
    for task, spec in source.specs().items():
        known = dataset.tokenizer.specs.get(task)
        if known is None or known.to_json() != spec.to_json():
            raise PlanError(
                f"{name}: the spec of task {task!r} is not the one that {dataset.path} was made with: old and new"
                " records would not be alike. Convert anew, into another version"
            )
    return source


def _fingerprint(dataset: Dataset) -> dict[str, Any]:
    data = (dataset.path / MANIFEST).read_bytes()
    uri = "/".join((*dataset.path.resolve().parts[-2:], MANIFEST))
    return {"source": "rejects retry", "uri": uri, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def carry_over(dataset: Dataset, old: Plan, plan: Plan, folder: Path) -> None:
    """Put every partition of the old plan into the work folder of the new one, as if it had been written there.

    Nothing is done twice. Raises ValueError where the old dataset is damaged.
    """
    with gzip.open(dataset.path / "episodes.jsonl.gz", "rt", encoding="utf-8", newline="\n") as file:
        lines = itertools.groupby(map(json.loads, file), lambda line: _shard_number(line["shard"]))
        number, group = next(lines, (-1, iter(())))
        for index in range(len(old.partitions)):
            mine = group if number == index else iter(())
            if read_done(folder, plan, index) is None:
                _carry(dataset, old, plan, folder, index, mine)
            if number == index:
                number, group = next(lines, (-1, iter(())))


def _shard_number(name: str) -> int:
    return int(re.findall(r"-(\d+)-of-\d+$", name)[0])


def _carry(dataset: Dataset, old: Plan, plan: Plan, folder: Path, index: int, lines: Iterator[dict[str, Any]]) -> None:
    done = json.loads(done_path(dataset.path, index).read_text())
    for split, shard in done["shards"].items():
        before, after = dataset.path / old.shard(split, index), folder / plan.shard(split, index)
        index_path(after).parent.mkdir(exist_ok=True)
        if shard["records"] or before.exists():
            if before.stat().st_size != shard["bytes"]:
                raise ValueError(f"{before} is damaged: see gato-data verify")
            link(before, after)
            link(index_path(before), index_path(after))
        else:  # a split without any record is left out when a dataset is published
            for path in (after, index_path(after)):
                path.write_bytes(b"")
        shard["file"] = after.name
    with durable_file(episodes_path(folder, index)) as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as file:
        for line in lines:
            split = next(name for name, shard in done["shards"].items() if line["shard"] == old.shard(name, index))
            file.write(json_line({**line, "shard": plan.shard(split, index)}))
    for place in (folder, folder / "index"):
        sync_folder(place)
    read = done["written"] + sum(done["filtered"].values())  # what was rejected is another partition's work now
    write_done(folder, index, {**done, "plan_sha256": plan.sha256, "read": read, "rejected": {}, "rest_lost": None})


def link(before: Path, after: Path) -> None:
    """Make `after` the same file as `before`; a copy where no hard link can be made."""
    after.unlink(missing_ok=True)
    try:
        os.link(before, after)
    except OSError:
        with open(before, "rb") as source, durable_file(after) as target:
            shutil.copyfileobj(source, target)
