"""A new version of a dataset: all of the old one, and what was rejected then and succeeds now.

Shards of the old version are carried over as files (hard links, or copies), under the names of the larger count; each
partition that had rejects gets one more shard, for which only these are read from its source. From there on it is a
conversion like any other: planned, resumed, watched, published.
"""

import contextlib
import dataclasses
import gzip
import hashlib
import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gato_tokenize import __version__
from gato_tokenize.storage.dataset import MANIFEST, Dataset
from gato_tokenize.storage.durable import durable_file, sync_folder
from gato_tokenize.storage.episode_list import EPISODES, line_bytes, read_lines
from gato_tokenize.storage.ranges import open_stream
from gato_tokenize.storage.schema import READABLE, SCHEMA_VERSION
from gato_tokenize.storage.shards import parse_shard_name
from gato_tokenize.storage.store_path import Place, StorePath, size_of_file
from gato_tokenize.storage.tfrecord import index_path
from pipelines.conversion.plan import Plan, PlanError
from pipelines.conversion.work import Done, Retry, Work
from pipelines.conversion.work_folder import PLAN, WorkFolder
from pipelines.sources import open_source
from pipelines.sources.pieces import SHARD_BYTES
from pipelines.sources.source import Source


def plan_retry(dataset: Dataset, out: Path) -> Plan:
    """Return the plan of `out`, a new version of `dataset`.

    All works of the old plan come first, each marked as carried over; after them, one for each of them that had
    rejects. Records that are carried over keep their schema version. Raises PlanError if there is nothing to retry, if
    a spec or the name has changed, or if this release does not know the schema.
    """
    folder = WorkFolder.open(dataset.path)
    _check_version(dataset, folder.plan, out)
    retries = [work for index in folder.indices for work in _retries(dataset, folder, index)]
    if not retries:
        raise PlanError(f"{dataset.path} has no rejects: there is nothing to retry")
    inputs = [*folder.plan.inputs, fingerprint(dataset, "rejects retry")]
    for name in dict.fromkeys(work.source for work in retries):
        inputs += [given for given in _inputs(_checked(dataset, name)) if given not in inputs]
    carried = [dataclasses.replace(work, carried=True) for work in folder.plan.partitions]
    return dataclasses.replace(
        folder.plan,
        version=out.name,
        partitions=(*carried, *retries),
        inputs=tuple(inputs),
        schema_version=SCHEMA_VERSION,
        generator=f"gato-toolchain {__version__}",
    )


def _check_version(dataset: Dataset, old: Plan, out: Path) -> None:
    if old.sha256 != dataset.manifest["plan_sha256"]:
        raise PlanError(f"{dataset.path / PLAN} is not the plan that the manifest names: see gato-data verify")
    if out.parent.name != old.dataset or _resolved(out) == _resolved(dataset.path):
        raise PlanError(f"a retry makes another version of {old.dataset}: give --out DIR/{old.dataset}/VERSION")
    if old.schema_version not in READABLE:
        raise PlanError(
            f"{dataset.path} has schema version {old.schema_version}, this release reads"
            f" {' and '.join(map(str, READABLE))}: retry with the release that made it, or convert anew"
        )


def _retries(dataset: Dataset, folder: WorkFolder, index: int) -> Iterator[Work]:
    """Yield the work that tries the rejects of partition `index` again, if it has any."""
    rejects = folder.rejects(index)
    if not rejects:
        return
    work = folder.plan.partitions[index]
    number = work.retry.number if work.retry else _number(folder.plan, index)
    only = tuple((r.source_uri, r.source_index, r.episode_id) for r in rejects if not r.ends_partition)
    lost_from = next((reject.lost_from for reject in rejects if reject.lost_from is not None), None)
    if lost_from is not None and work.retry:  # each episode that it asked for, if not written, has a reject of its own
        lost_from = None if work.retry.from_ is None else max(lost_from, work.retry.from_)
    partition = _partition(_checked(dataset, work.source), folder.plan, work.partition, number)
    yield Work(work.source, partition, Retry(number, only, lost_from), limit=work.limit)


def _number(plan: Plan, index: int) -> int:
    """Return the number of a work among those of its source."""
    source = plan.partitions[index].source
    return sum(work.source == source and not work.retry for work in plan.partitions[:index])


def _partition(source: Source, old: Plan, partition: dict[str, Any], number: int) -> dict[str, Any]:
    """Return the partition as it was planned if the inputs are as they were, else the same one of a new cut."""
    if all(given in old.inputs for given in _inputs(source)):
        return partition
    source.shard_bytes = old.shard_bytes or SHARD_BYTES
    partitions = source.partitions()
    known = sum(work.source == source.source and not work.retry for work in old.partitions)
    if len(partitions) != known:
        raise PlanError(
            f"{source.source} has other inputs now, cut into {len(partitions)} partitions, not {known}: what was"
            " rejected cannot be found there. Convert anew, into another version"
        )
    return partitions[number]


def _inputs(source: Source) -> list[dict[str, Any]]:
    return [{"source": source.source, **given} for given in source.inputs()]


def _checked(dataset: Dataset, name: str) -> Source:
    """Open a source. Raises PlanError if a spec of it is not the one that the dataset was made with."""
    source = open_source(name)
    for task, spec in source.specs().items():
        known = dataset.tokenizer.specs.get(task)
        if known is None or known.to_json() != spec.to_json():
            raise PlanError(
                f"{name}: the spec of task {task!r} is not the one that {dataset.path} was made with: old and new"
                " records would not be alike. Convert anew, into another version"
            )
    return source


def fingerprint(dataset: Dataset, reader: str) -> dict[str, Any]:
    """Return the entry of a dataset among a plan's inputs; its manifest has the hashes of all its files. `reader`: the
    command that reads it."""
    data = (dataset.path / MANIFEST).read_bytes()
    uri = "/".join((*_resolved(dataset.path).parts[-2:], MANIFEST))
    return {"source": reader, "uri": uri, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def carry_over(dataset: Dataset, folder: WorkFolder) -> None:
    """Put every partition of `dataset` into the work folder of its new version, as if it had been written there.

    A partition that is there already is left alone. Raises ValueError if the dataset is damaged.
    """
    old = WorkFolder.open(dataset.path)
    groups = itertools.groupby(read_lines(dataset.path / EPISODES), lambda line: parse_shard_name(line["shard"])[2])
    number, group = next(groups, (-1, iter(())))
    for index in old.indices:
        lines = group if number == index else iter(())
        if folder.done(index) is None:
            _carry(old, folder, index, lines)
        if number == index:
            number, group = next(groups, (-1, iter(())))


def _carry(old: WorkFolder, folder: WorkFolder, index: int, lines: Iterator[dict[str, Any]]) -> None:
    done = old.recorded(index)
    if done is None:
        raise ValueError(f"{old.done_path(index)} is missing: see gato-data verify")
    for split, shard in done.shards.items():
        _carry_shard(old.shard_path(split, index), folder.shard_path(split, index), shard)
    new_names = {old.plan.shard(split, index): folder.plan.shard(split, index) for split in done.shards}
    with durable_file(folder.episodes_path(index)) as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as file:
        for line in lines:
            file.write(line_bytes({**line, "shard": new_names[line["shard"]]}))
    for place in (folder.path, folder.path / "index"):
        sync_folder(place)
    folder.write_done(index, _carried(done, folder, index))


def _carry_shard(before: Place, after: Place, shard: dict[str, Any]) -> None:
    index_path(after).parent.mkdir(exist_ok=True)
    if shard["records"] or before.exists():
        if size_of_file(before) != shard["bytes"]:
            raise ValueError(f"{before} is damaged: see gato-data verify")
        link(before, after)
        link(index_path(before), index_path(after))
    else:  # publishing leaves out a split without any record
        for path in (after, index_path(after)):
            with durable_file(path):
                pass


def _carried(done: Done, folder: WorkFolder, index: int) -> Done:
    """Return the done-file of a partition that is carried over: its rejects are another partition's work now."""
    return dataclasses.replace(
        done,
        plan_sha256=folder.plan.sha256,
        read=done.written + sum(done.filtered.values()),
        rejected={},
        rest_lost=None,
        shards={split: {**shard, "file": folder.plan.shard(split, index)} for split, shard in done.shards.items()},
    )


def link(before: Place, after: Place) -> None:
    """Make `after` the same file as `before`; a copy if no hard link can be made."""
    if not isinstance(before, StorePath) and not isinstance(after, StorePath):
        after.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            return os.link(before, after)
    with open_stream(before, cached=False) as source, durable_file(after) as target:
        shutil.copyfileobj(source, target)


def _resolved(path: Place) -> Place:
    return path if isinstance(path, StorePath) else path.resolve()
