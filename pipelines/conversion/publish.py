"""Done-files -> manifest, TFDS's json, statistics, and the one final rename.

What was written is read from disk, never from what a runner reports, and must account for every candidate of the plan.
"""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gato_tokenize.storage.dataset import FORMAT_VERSION, MANIFEST, SPEC, STATS, TEXT_MODEL, manifest_bytes
from gato_tokenize.storage.durable import durable_file, sync_folder
from gato_tokenize.storage.episode_list import EPISODES, read_lines
from gato_tokenize.storage.tfrecord import index_path
from pipelines.conversion.plan import Plan
from pipelines.conversion.reject_budget import RejectBudget
from pipelines.conversion.tfds_files import dataset_info_json, features_json
from pipelines.conversion.work_folder import PLAN, done_path, episodes_path, quarantine_path, read_done, rejects_path
from pipelines.stats.episode_stats import merge_stats
from pipelines.stats.lints import complete


class PublishError(RuntimeError):
    """The finished work does not add up, or may not be published as it is."""


def publish(partial: Path, final: Path, plan: Plan, max_rejects: RejectBudget) -> dict[str, Any]:
    """Turn the complete work folder `partial` into the dataset `final`; returns the manifest.

    Raises RejectBudgetError, and PublishError where partitions are missing, ids are double or nothing was written;
    the work stays where it is.
    """
    if not (partial / MANIFEST).exists():  # else an earlier attempt died between the manifest and the rename
        done = [_done(partial, plan, index) for index in range(len(plan.partitions))]
        max_rejects.check(_total(part["rejected"] for part in done), sum(part["read"] for part in done), partial)
        _check_ids(partial, plan)
        splits = _splits(done, plan)
        _write_documents(partial, plan, done, splits)
        manifest = _manifest(partial, plan, done, splits)
        _write_json(partial / MANIFEST, manifest)
    manifest = json.loads((partial / MANIFEST).read_text())
    _remove_spare(partial, plan, manifest["splits"])
    os.rename(partial, final)
    sync_folder(final.parent)
    return dict(manifest)


def _remove_spare(folder: Path, plan: Plan, splits: dict[str, Any]) -> None:
    """Files that the manifest does not name: episode lists that are one file now, shards of a split without records."""
    for index in range(len(plan.partitions)):
        episodes_path(folder, index).unlink(missing_ok=True)
        for split in set(plan.splits) - set(splits):
            shard = folder / plan.shard(split, index)
            shard.unlink(missing_ok=True)
            index_path(shard).unlink(missing_ok=True)


def _done(folder: Path, plan: Plan, index: int) -> dict[str, Any]:
    done = read_done(folder, plan, index)
    if done is None:
        raise PublishError(f"partition {index} is not done: run the same command again")
    counted = done["written"] + sum(done["rejected"].values()) + sum(done["filtered"].values())
    if done["read"] != counted:
        raise PublishError(f"partition {index}: {done['read']} read, but {counted} accounted for: please report this")
    return done


def _total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(sorted(total.items()))


def _lines(folder: Path, plan: Plan) -> Iterator[dict[str, Any]]:
    for index in range(len(plan.partitions)):
        yield from read_lines(episodes_path(folder, index))


def _check_ids(folder: Path, plan: Plan) -> None:
    """Raise PublishError naming both places where an episode id stands twice. 16 bytes a record in memory."""

    def digest(line: dict[str, Any]) -> bytes:
        return hashlib.sha256(f"{line['segment_index']}:{line['episode_id']}".encode()).digest()[:16]

    digests = bytearray()
    for line in _lines(folder, plan):
        digests += digest(line)
    seen = np.frombuffer(digests, "V16")
    seen.sort()
    doubles = seen[1:][seen[1:] == seen[:-1]]
    if not len(doubles):
        return
    double = doubles[0].tobytes()
    places = [line for line in _lines(folder, plan) if digest(line) == double]
    where = " and ".join(f"{line['source_uri']} (number {line['source_index']})" for line in places[:2])
    raise PublishError(
        f"episode id {places[0]['episode_id']!r} stands twice, from {where}; {len(np.unique(doubles))} ids are double."
        " An id must name one episode: mend the sources, then convert anew"
    )


def _splits(done: list[dict[str, Any]], plan: Plan) -> dict[str, Any]:
    splits = {}
    for split in plan.splits:
        shards = [part["shards"][split] for part in done]
        total = {name: sum(shard[name] for shard in shards) for name in ("records", "steps", "tokens", "bytes")}
        if total["records"]:  # TFDS refuses an empty split
            splits[split] = {**total, "shards": shards}
    if not splits:
        raise PublishError("no episode was written: there is nothing to publish")
    return splits


def _write_documents(folder: Path, plan: Plan, done: list[dict[str, Any]], splits: dict[str, Any]) -> None:
    stats: dict[str, Any] = {}
    for part in done:
        merge_stats(stats, part["stats"])
    _write_json(
        folder / STATS,
        {split: {task: complete(counts) for task, counts in stats[split].items()} for split in splits},
    )
    _write_json(folder / "features.json", features_json())
    _write_json(folder / "dataset_info.json", dataset_info_json(plan, splits))
    with durable_file(folder / EPISODES) as file:  # members of one gzip file may stand behind each other
        for index in range(len(plan.partitions)):
            with open(episodes_path(folder, index), "rb") as part_file:
                shutil.copyfileobj(part_file, file)


def _manifest(folder: Path, plan: Plan, done: list[dict[str, Any]], splits: dict[str, Any]) -> dict[str, Any]:
    episodes = {
        "read": sum(part["read"] for part in done),
        "written": sum(part["written"] for part in done),
        "rejected": _total(part["rejected"] for part in done),
        "filtered": _total(part["filtered"] for part in done),
        "duplicates": 0,  # a double id refuses the whole dataset (`_check_ids`)
    }
    return {
        "format_version": FORMAT_VERSION,
        "generator": plan.generator,
        "dataset": plan.dataset,
        "version": plan.version,
        "plan_sha256": plan.sha256,
        "tokenizer_sha256": plan.tokenizer_sha256,
        "inputs": list(plan.inputs),
        "episodes": episodes,
        "splits": splits,
        "files": {name: _sha256(folder / name) for name in _other_files(folder, plan, splits)},
    }


def _other_files(folder: Path, plan: Plan, splits: dict[str, Any]) -> list[str]:
    """Every file of a dataset but the shards and the manifest, whose hashes stand elsewhere."""
    names = ["dataset_info.json", "features.json", STATS, EPISODES, SPEC, TEXT_MODEL, PLAN]
    for index in range(len(plan.partitions)):
        paths = [done_path(folder, index), rejects_path(folder, index), quarantine_path(folder, index)]
        paths += [index_path(folder / plan.shard(split, index)) for split in splits]
        names += [path.relative_to(folder).as_posix() for path in paths]
    return sorted(name for name in names if (folder / name).exists())


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_json(path: Path, content: dict[str, Any]) -> None:
    data = (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
    with durable_file(path) as file:
        file.write(manifest_bytes(content) if path.name == MANIFEST else data)
