"""Shards that a Beam job of one's own wrote become a dataset: each partition described, then all published."""

import contextlib
import dataclasses
import gzip
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from gato_tokenize.output import counted
from gato_tokenize.storage.dataset import SPEC, TEXT_MODEL, DatasetTokenizer
from gato_tokenize.storage.durable import durable_file
from gato_tokenize.storage.episode_list import episode_line, line_bytes
from gato_tokenize.storage.records import Record
from gato_tokenize.storage.shards import parse_shard_name, read_records
from gato_tokenize.storage.store_path import Place, files_below
from gato_tokenize.storage.tfrecord import index_path, read_index
from pipelines.conversion.card import Card
from pipelines.conversion.plan import Plan
from pipelines.conversion.publish import DOCUMENTS, PublishError, publish
from pipelines.conversion.reject_budget import RejectBudget, listed_reasons
from pipelines.conversion.work import Done, Work
from pipelines.conversion.work_folder import PLAN, WorkFolder
from pipelines.sources.reading import Reject
from pipelines.stats.episode_stats import as_json, merge_stats
from pipelines.stats.from_tokens import stats_from_tokens

SOURCE = "a Beam job of one's own"


def describe_partition(
    folder: Place, index: int, shards: Sequence[dict[str, Any]], tokenizer: DatasetTokenizer
) -> Done:
    """Read shard `index` of each split, given as `WriteShards` returns them; write their part of the episode list and
    return their part of the manifest.

    Its `plan_sha256` is empty: there is no plan yet. Raises PublishError for a task without a spec, or an episode that
    lacks a segment; CorruptRecordError.
    """
    entries: dict[str, dict[str, Any]] = {}
    stats: dict[str, dict[str, Any]] = {}
    written = 0
    (folder / "_run").mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        raw = stack.enter_context(durable_file(_files(folder).episodes_path(index)))
        lines = stack.enter_context(gzip.GzipFile("", "wb", 6, raw, mtime=0))
        for shard in sorted(shards, key=lambda shard: str(shard["file"])):
            split = parse_shard_name(shard["file"])[1]
            entry, stats[split] = {"file": shard["file"], "records": 0, "steps": 0, "tokens": 0, "first_id": None}, {}
            extents = iter(read_index(index_path(folder / shard["file"])))
            for parts in _episodes(folder / shard["file"]):
                for record in parts:
                    lines.write(line_bytes(episode_line(record, entry["file"], entry["records"], next(extents))))
                    _count(entry, record)
                whole = Record.join(parts)
                found = as_json(stats_from_tokens(whole, _task(tokenizer, whole)))
                merge_stats(stats[split].setdefault(whole.metadata.task, {}), found)
                written += 1
            entries[split] = {**entry, "bytes": shard["bytes"], "sha256": shard["sha256"]}
    return Done("", index, written, written, {}, {}, None, entries, stats)


def _files(folder: Place) -> WorkFolder:
    """Return the work folder that there is before the plan: it knows the names of all files."""
    return WorkFolder(folder, Plan(folder.parent.name, folder.name, (Work(SOURCE, {}),), (), ""))


def _episodes(path: Place) -> Iterator[list[Record]]:
    """Yield the segments of each episode of a shard."""
    parts: list[Record] = []
    for record in read_records(path):
        named = record.metadata
        if named.segment_index != len(parts) or (parts and named.episode_id != parts[0].metadata.episode_id):
            break
        parts.append(record)
        if len(parts) == named.num_segments:
            yield parts
            parts = []
    else:
        if not parts:
            return
    name = (parts or [record])[0].metadata.episode_id
    raise PublishError(f"{path}: episode {name!r} lacks a segment, or its id stands twice: an id must name one episode")


def _task(tokenizer: DatasetTokenizer, record: Record) -> Any:
    try:
        return tokenizer.task(record.metadata.task)
    except KeyError as error:
        raise PublishError(f"episode {record.metadata.episode_id!r}: {error.args[0]}") from error


def _count(entry: dict[str, Any], record: Record) -> None:
    entry["records"] += 1
    entry["steps"] += record.sequence.num_steps
    entry["tokens"] += len(record.sequence)
    entry["first_id"] = entry["first_id"] or record.metadata.episode_id
    entry["last_id"] = record.metadata.episode_id


def publish_shards(
    folder: Place,
    parts: Sequence[Done],
    rejects: Sequence[Reject],
    tokenizer: DatasetTokenizer,
    inputs: Sequence[dict[str, Any]],
    budget: RejectBudget,
    card: Card,
) -> dict[str, Any]:
    """Publish the shards in `folder` (.../NAME/VERSION), described by `parts`, as a dataset; returns its manifest.

    Its plan names the shards by their hashes. Raises PublishError if a shard is missing or has another dataset's name,
    if another file lies in the folder, if an episode id stands twice, if nothing was written, or if more episodes were
    rejected than the budget allows.
    """
    parts = sorted(parts, key=lambda part: part.partition)
    splits = _checked_splits(folder, parts)
    reasons = Counter(reject.reason for reject in rejects)
    read = sum(part.read for part in parts) + len(rejects)
    if not budget.allows(len(rejects), read):
        raise PublishError(
            f"{len(rejects)} of {counted(read, 'episode')} rejected ({listed_reasons(reasons)}), and max_rejects is"
            f" {budget.text}. Nothing is published"
        )
    hashes = [{split: shard["sha256"] for split, shard in part.shards.items()} for part in parts]
    plan = Plan(
        dataset=folder.parent.name,
        version=folder.name,
        partitions=tuple(Work(SOURCE, {"sha256": one}, carried=True) for one in hashes),
        inputs=tuple(inputs),
        tokenizer_sha256=tokenizer.sha256,
        source_splits=tuple(sorted(splits)),
        card=card,
    )
    work = WorkFolder(folder, plan)
    work.storage = _files(folder).storage  # in a store, the parts of the episode list lie beside the dataset
    work.clean()
    _check_files(work)
    work.rejects_path(0).unlink(missing_ok=True)
    work.save(tokenizer)
    work.write_rejects(0, sorted(rejects, key=lambda one: (one.source_uri, one.source_index, one.stage, one.message)))
    for part in parts:
        done = dataclasses.replace(part, plan_sha256=plan.sha256, rejected=dict(reasons) if part.partition == 0 else {})
        work.write_done(part.partition, dataclasses.replace(done, read=done.accounted))
    return publish(work, folder, RejectBudget("100%"))  # in its place: the rename does nothing


def _checked_splits(folder: Place, parts: Sequence[Done]) -> set[str]:
    """Return the splits. Raises PublishError if shards are missing or have another name than the folder's."""
    found = sorted(parse_shard_name(shard["file"]) for part in parts for shard in part.shards.values())
    other = next((name for name, *_ in found if name != folder.parent.name), None)
    if other is not None:
        raise PublishError(f"the shards are of dataset {other}: their folder must be DIR/{other}/VERSION, not {folder}")
    splits = sorted({split for _, split, _, _ in found})
    if [place[1:] for place in found] != [(split, n, len(parts)) for split in splits for n in range(len(parts))]:
        counts = ", ".join(sorted({f"{count} for {split}" for _, split, _, count in found}))
        raise PublishError(f"every split must have all its shards, and one number of them; the counts are {counts}")
    return set(splits)


def _check_files(work: WorkFolder) -> None:
    """Raise PublishError if a file lies in the folder that will not be the dataset's."""
    shards = [work.shard_path(split, index) for split in work.plan.splits for index in work.indices]
    of_parts = (*map(work.episodes_path, work.indices), *map(work.done_path, work.indices), work.rejects_path(0))
    documents = (work.path / name for name in (PLAN, *DOCUMENTS, SPEC, TEXT_MODEL))  # of an attempt that was killed
    known = {*shards, *map(index_path, shards), *of_parts, *documents}
    others = sorted(path for name in files_below(work.path) if (path := work.path / name) not in known)
    if others:
        raise PublishError(
            f"{others[0]} is not part of the dataset that its folder is to become"
            f" ({counted(len(others), 'such file')}): move it away, then run the job again"
        )
