"""Done-files -> manifest, TFDS's JSON, statistics, cards, and the one final rename.

What was written is read from disk, never from what a runner reports, and must account for every candidate of the plan.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import shlex
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from gato_tokenize.storage.dataset import FORMAT_VERSION, MANIFEST, SPEC, STATS, TEXT_MODEL
from gato_tokenize.storage.durable import durable_file
from gato_tokenize.storage.episode_list import EPISODES, read_lines
from gato_tokenize.storage.manifest import json_parts, manifest_parts
from gato_tokenize.storage.ranges import open_stream, sha256_of_file
from gato_tokenize.storage.store_path import Place, files_below
from gato_tokenize.storage.tfrecord import index_path, shard_writer
from pipelines.conversion.croissant import croissant_json
from pipelines.conversion.readme import readme, summary
from pipelines.conversion.reject_budget import RejectBudget, examples, how_to_list, listed_reasons
from pipelines.conversion.tfds_files import dataset_info_json, features_json
from pipelines.conversion.work import Done
from pipelines.conversion.work_folder import PLAN, WorkFolder
from pipelines.stats.episode_stats import merge_stats
from pipelines.stats.lints import complete

FEATURES, DATASET_INFO = "features.json", "dataset_info.json"  # TFDS's own
README, CROISSANT = "README.md", "croissant.json"
DOCUMENTS = (DATASET_INFO, FEATURES, STATS, EPISODES, README, CROISSANT)
_PARTS = 64  # in which double ids are looked for one after the other: each holds its part of all digests in memory
_IN_MEMORY = 1 << 19  # bytes of each that need no file


class PublishError(RuntimeError):
    """The finished work does not add up, or may not be published as it is."""


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The content of manifest.json, but for its own sha256; the order of the fields is that of the file."""

    format_version: int
    generator: str
    dataset: str
    version: str
    plan_sha256: str
    tokenizer_sha256: str
    inputs: list[dict[str, Any]]
    episodes: dict[str, Any]  # {"read", "written", "duplicates": count, "rejected", "filtered": {reason: count}}
    splits: dict[str, dict[str, Any]]  # {split: {"records", "steps", "tokens", "bytes", "shards"}}
    files: dict[str, str]  # {name: sha256} of every file but the shards and the manifest


def publish(folder: WorkFolder, final: Place, budget: RejectBudget) -> dict[str, Any]:
    """Turn the complete work folder into the dataset `final`; returns the manifest.

    Raises RejectBudgetError, and PublishError if partitions are missing, an id stands twice or nothing was written;
    the work then stays where it is.
    """
    if not folder.complete:  # else an earlier attempt died between the manifest and the rename
        done, stats = _all_done(folder)
        read, written = sum(part.read for part in done), sum(part.written for part in done)
        budget.check(_total(part.rejected for part in done), read, written, folder.path)
        _check_ids(folder)
        splits = _splits(folder, done)
        manifest = _manifest(folder, done, splits)
        _settle_empty_shards(folder, done, splits)
        _write_documents(folder, stats, manifest)
        names = _other_files(folder, splits)
        found = folder.storage.each(lambda name: sha256_of_file(folder.path / name), names)
        manifest = dataclasses.replace(manifest, files=dict(zip(names, found, strict=True)))
        folder.storage.check()
        with durable_file(folder.path / MANIFEST) as file:
            file.writelines(manifest_parts(vars(manifest)))
    content: dict[str, Any] = json.loads((folder.path / MANIFEST).read_text(encoding="utf-8"))
    folder.storage.publish(final, map(folder.episodes_path, folder.indices))  # these lists are one file now
    return content


def _settle_empty_shards(folder: WorkFolder, done: list[Done], splits: Container[str]) -> None:
    """Remove the shards of splits without records; write those without records that another split lost that way in an
    attempt before."""
    for part in done:
        for split, entry in part.shards.items():
            shard = folder.shard_path(split, part.partition)
            if split not in splits:
                shard.unlink(missing_ok=True)
                index_path(shard).unlink(missing_ok=True)
            elif not entry["records"] and not (shard.is_file() and index_path(shard).is_file()):
                with shard_writer(shard):
                    pass


def _all_done(folder: WorkFolder) -> tuple[list[Done], dict[str, Any]]:
    """Return what became of each partition, without its statistics, and those of all, merged: they are most of a
    done-file, and are never held for more than a few partitions."""
    done: list[Done] = []
    stats: dict[str, Any] = {}
    for part in folder.storage.each(lambda index: _done(folder, index), folder.indices):
        merge_stats(stats, part.stats)
        done.append(dataclasses.replace(part, stats={}))
    return done, stats


def _done(folder: WorkFolder, index: int) -> Done:
    done = folder.done(index)
    if done is None:
        raise PublishError(f"partition {index} is not done: run the same command again")
    if done.read != done.accounted:
        raise PublishError(f"partition {index}: {done.read} read, but {done.accounted} accounted for: please report it")
    return done


def _total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(sorted(total.items()))


def _lines(folder: WorkFolder) -> Iterator[dict[str, Any]]:
    for index in folder.indices:
        yield from read_lines(folder.episodes_path(index))


def _check_ids(folder: WorkFolder) -> None:
    """Raise PublishError naming both places if an episode id stands twice."""
    places, count = double_ids(lambda: _lines(folder))
    if not count:
        return
    where = " and ".join(f"{line['source_uri']} (number {line['source_index']})" for line in places)
    raise PublishError(
        f"episode id {places[0]['episode_id']!r} stands twice, from {where}; {count} ids are double."
        " An id must name one episode: mend the sources, then convert anew"
    )


def double_ids(lines: Callable[[], Iterator[dict[str, Any]]]) -> tuple[list[dict[str, Any]], int]:
    """Find the records of an episode list that stand twice; returns (the first two lines of one of them, how many such
    records there are). Calls `lines` twice if there are any, and takes 16 bytes a line: of the disk, if there are many.
    """
    with contextlib.ExitStack() as stack:
        parts = [stack.enter_context(tempfile.SpooledTemporaryFile(_IN_MEMORY)) for _ in range(_PARTS)]
        for line in lines():
            digest = _id_digest(line)
            parts[digest[0] * _PARTS >> 8].write(digest)
        doubles = list(itertools.chain.from_iterable(map(_doubles, parts)))
    if not doubles:
        return [], 0
    places = itertools.islice((line for line in lines() if _id_digest(line) == doubles[0]), 2)
    return list(places), len(doubles)


def _doubles(digests: "tempfile.SpooledTemporaryFile[bytes]") -> list[bytes]:
    """Return the digests of a file that stand there more than once, each once."""
    digests.seek(0)
    seen = np.frombuffer(bytearray(digests.read()), "V16")
    seen.sort()
    return [double.tobytes() for double in np.unique(seen[1:][seen[1:] == seen[:-1]])]


def _id_digest(line: dict[str, Any]) -> bytes:
    return hashlib.sha256(f"{line['segment_index']}:{line['episode_id']}".encode()).digest()[:16]


def _splits(folder: WorkFolder, done: list[Done]) -> dict[str, Any]:
    splits = {}
    for split in folder.plan.splits:
        shards = [part.shards[split] for part in done if split in part.shards]
        total = {name: sum(shard[name] for shard in shards) for name in ("records", "steps", "tokens", "bytes")}
        if total["records"]:  # TFDS refuses an empty split
            splits[split] = {**total, "shards": shards}
    if not splits:
        raise PublishError(_nothing_written(folder, done))
    return splits


def _nothing_written(folder: WorkFolder, done: list[Done]) -> str:
    read = sum(part.read for part in done)
    if not read:
        files = [given["uri"] for given in folder.plan.inputs]
        return f"no episode was found in {', '.join(files[:3])}{' ...' * (len(files) > 3)}: there is nothing to publish"
    rejected, filtered = (_total(getattr(part, name) for part in done) for name in ("rejected", "filtered"))
    counts = [
        f"{sum(reasons.values())} {name} ({listed_reasons(reasons)})"
        for name, reasons in (("rejected", rejected), ("filtered", filtered))
        if reasons
    ]
    look = f"{how_to_list(folder.path)} shows each reject; " if rejected else ""
    return (
        f"not one of {read} episodes was written: {', '.join(counts)}. {examples(folder.path)}There is nothing to"
        f" publish; {look}mend the sources, remove the folder {shlex.quote(str(folder.path))}, and convert anew"
    )


def _write_documents(folder: WorkFolder, stats: dict[str, Any], manifest: Manifest) -> None:
    splits = manifest.splits
    completed = {split: {task: complete(counts) for task, counts in stats[split].items()} for split in splits}
    _write_json(folder.path / STATS, completed)
    _write_json(folder.path / FEATURES, features_json())
    _write_json(folder.path / DATASET_INFO, dataset_info_json(folder.plan, splits))
    with durable_file(folder.path / EPISODES) as file:  # a gzip file may have several members in a row
        for index in folder.indices:
            with open_stream(folder.episodes_path(index)) as part_file:
                shutil.copyfileobj(part_file, file)
    _write_cards(folder, completed, vars(manifest))


def _write_cards(folder: WorkFolder, stats: dict[str, Any], manifest: dict[str, Any]) -> None:
    """Write what tells people and catalogues about the dataset."""
    card, tokenizer = folder.plan.card, folder.tokenizer
    about = croissant_json(manifest, card, summary(manifest, stats), sha256_of_file(folder.path / EPISODES))
    _write_json(folder.path / CROISSANT, about)
    with durable_file(folder.path / README) as file:
        file.writelines(f"{line}\n".encode() for line in readme(manifest, stats, tokenizer, card))


def _manifest(folder: WorkFolder, done: list[Done], splits: dict[str, Any]) -> Manifest:
    plan = folder.plan
    return Manifest(
        format_version=FORMAT_VERSION,
        generator=plan.generator,
        dataset=plan.dataset,
        version=plan.version,
        plan_sha256=plan.sha256,
        tokenizer_sha256=plan.tokenizer_sha256,
        inputs=list(plan.inputs),
        episodes={
            "read": sum(part.read for part in done),
            "written": sum(part.written for part in done),
            "rejected": _total(part.rejected for part in done),
            "filtered": _total(part.filtered for part in done),
            "duplicates": 0,  # an id that stands twice refuses the whole dataset (`_check_ids`)
        },
        splits=splits,
        files={},  # none is written yet
    )


def _other_files(folder: WorkFolder, splits: dict[str, Any]) -> list[str]:
    """Every file of a dataset but the shards and the manifest, whose hashes are elsewhere."""
    names = [*DOCUMENTS, SPEC, TEXT_MODEL, PLAN]
    for index in folder.indices:
        paths = [folder.done_path(index), folder.rejects_path(index), folder.quarantine_path(index)]
        paths += [index_path(folder.shard_path(split, index)) for split in splits]
        names += [path.as_posix().removeprefix(f"{folder.path.as_posix()}/") for path in paths]
    return sorted(set(names) & files_below(folder.path))


def _write_json(path: Place, content: dict[str, Any]) -> None:
    with durable_file(path) as file:
        file.writelines(json_parts(content, sort_keys=True))
        file.write(b"\n")
