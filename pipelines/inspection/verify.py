"""Verification of a dataset: every byte against its manifest and, if `deep`, every record against its schema."""

import dataclasses
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gato_tokenize.storage.dataset import MANIFEST, Dataset
from gato_tokenize.storage.manifest import manifest_bytes
from gato_tokenize.storage.place import describe
from gato_tokenize.storage.ranges import sha256_of_file
from gato_tokenize.storage.records import Record
from gato_tokenize.storage.store_path import Place, files_below, place
from gato_tokenize.storage.tfrecord import FOOTER, HEADER, CorruptRecordError, index_path, index_text, read_frames
from pipelines.conversion.plan import Plan
from pipelines.conversion.work_folder import PLAN

_THREADS = min(4, os.cpu_count() or 1)  # more of them would only wait for the disk


@dataclasses.dataclass(frozen=True)
class Fault:
    """A fault of one file of a dataset."""

    file: str
    problem: str

    def __str__(self) -> str:
        return f"{self.file}: {self.problem}"


def verify(folder: "str | os.PathLike[str]", deep: bool = False) -> Iterator[Fault]:
    """Yield every fault of a dataset: a flipped byte anywhere, a file missing, extra, renamed, swapped or cut.

    This takes no longer than hashing the files: a file whose sha256 is the manifest's holds what was written. With
    `deep`, every record is also checked and parsed, its pictures are decoded, and the manifest's counts are compared,
    which finds faults that happened before publishing. Of a dataset in a store, every byte is fetched anew, whatever is
    cached. Raises FileNotFoundError if there is no dataset, OSError if a store cannot be read.
    """
    folder = place(folder)
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is no complete dataset: {describe(folder)} (give the folder NAME/VERSION)")
    data = path.read_bytes()
    try:
        manifest = json.loads(data)
        sound = manifest_bytes(manifest) == data
    except (ValueError, AttributeError, TypeError, RecursionError):
        sound = False
    if not sound:  # nothing in it can be trusted
        yield Fault(MANIFEST, "is damaged: its content does not match its own sha256")
        return
    try:
        yield from _check_files(folder, manifest)
        yield from _check_sums(folder, manifest)
        yield from _check_indexes(folder, manifest)
        if deep:
            yield from _check_records(folder, manifest)
    except (
        KeyError,
        TypeError,
        AttributeError,
    ) as error:  # its hash is right, but this toolchain does not write such a manifest
        yield Fault(MANIFEST, f"does not describe a dataset: {type(error).__name__}: {error}")


def _check_files(folder: Place, manifest: dict[str, Any]) -> Iterator[Fault]:
    expected = dict(manifest["files"])
    for split in manifest["splits"].values():
        expected |= {shard["file"]: shard["sha256"] for shard in split["shards"]}
    present = files_below(folder)
    for name in sorted(present - set(expected) - {MANIFEST}):
        yield Fault(name, "is not part of this dataset")
    with ThreadPoolExecutor(_THREADS) as threads:  # hashing releases the interpreter's lock
        names = sorted(set(expected) & present)  # never a path that leads out of the folder
        found = dict(zip(names, threads.map(_sha256, (folder / name for name in names)), strict=True))
        for name in sorted(expected):
            digest = found.get(name)
            if digest is None:
                yield Fault(name, "is no regular file" if name in present else "is missing")
            elif digest != expected[name]:
                yield Fault(name, f"its sha256 is {digest}, the manifest says {expected[name]}")


def _sha256(path: Place) -> str | None:
    """Hash a file; None if it is no regular file: a link may lead anywhere."""
    if isinstance(path, Path) and (path.is_symlink() or not path.is_file()):
        return None
    return sha256_of_file(path)


def _check_sums(folder: Place, manifest: dict[str, Any]) -> Iterator[Fault]:
    episodes = manifest["episodes"]
    counted = episodes["written"] + episodes["duplicates"]
    counted += sum(episodes["rejected"].values()) + sum(episodes["filtered"].values())
    if episodes["read"] != counted:
        yield Fault(MANIFEST, f"{episodes['read']} episodes read, but {counted} accounted for")
    try:
        plan = Plan.from_json((folder / PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        yield Fault(PLAN, f"cannot be read: {error}")
        return
    for key, value in (("plan_sha256", plan.sha256), ("tokenizer_sha256", plan.tokenizer_sha256)):
        if manifest[key] != value:
            yield Fault(PLAN, f"its {key} is {value}, the manifest says {manifest[key]}")


def _check_indexes(folder: Place, manifest: dict[str, Any]) -> Iterator[Fault]:
    """Check the number of lines and where the last record ends; `deep` compares every line with its record."""
    for split in manifest["splits"].values():
        for shard in split["shards"]:
            path = index_path(folder / shard["file"])
            if not path.is_file():
                continue  # reported as missing
            lines = path.read_bytes().splitlines()
            last = re.fullmatch(rb"([0-9]{1,19}) ([0-9]{1,19})", lines[-1] if lines else b"0 0")
            found = (len(lines), int(last[1]) + int(last[2])) if last else (len(lines), -1)
            if found != (shard["records"], shard["bytes"]):
                problem = f"{found[0]} lines up to byte {found[1]}, the manifest says {shard['records']} records"
                yield Fault(f"{path.parent.name}/{path.name}", f"{problem} in {shard['bytes']} bytes")


def _check_records(folder: Place, manifest: dict[str, Any]) -> Iterator[Fault]:
    try:
        dataset = Dataset.open(folder)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        yield Fault("tokenizer", f"cannot be opened: {error}")
        return
    for split in manifest["splits"].values():
        for shard in split["shards"]:
            path = folder / shard["file"]
            if path.is_file():
                yield from (Fault(shard["file"], problem) for problem in _check_shard(path, shard, dataset))


def _check_shard(path: Place, shard: dict[str, Any], dataset: Dataset) -> Iterator[str]:
    """Yield the problems of a shard's records; a damaged record ends the check."""
    found = _Found()
    try:
        for offset, data in read_frames(path):
            record = Record.from_bytes(data)
            dataset.tokenizer.vocabulary.check(record.sequence.ids)
            if record.metadata.task not in dataset.tokenizer.specs:
                yield f"record {found.records} is of task {record.metadata.task!r}, which has no spec"
            found.add(record, offset, len(data) + HEADER + FOOTER)
    except CorruptRecordError as error:
        yield f"record {error.damage.record} at byte {error.damage.offset}: {error.damage.reason}"
        return
    except ValueError as error:
        yield f"record {found.records}: {error}"
        return
    yield from found.differences(shard)
    index = index_path(path)
    if index.is_file() and index.read_bytes() != index_text(found.extents).encode():
        yield f"its index {index.name} does not list its records"


@dataclasses.dataclass
class _Found:
    """The records that a shard holds, counted as its manifest counts them."""

    records: int = 0
    steps: int = 0
    tokens: int = 0
    first_id: str | None = None
    last_id: str | None = None
    extents: list[tuple[int, int]] = dataclasses.field(default_factory=list)

    def add(self, record: Record, offset: int, length: int) -> None:
        self.records += 1
        self.steps += record.sequence.num_steps
        self.tokens += len(record.sequence)
        self.first_id, self.last_id = self.first_id or record.metadata.episode_id, record.metadata.episode_id
        self.extents.append((offset, length))

    def differences(self, shard: dict[str, Any]) -> Iterator[str]:
        """Yield what the manifest counts otherwise; `shard` is its entry."""
        for name in ("records", "steps", "tokens"):
            if getattr(self, name) != shard[name]:
                yield f"{getattr(self, name)} {name}, the manifest says {shard[name]}"
        ids, expected = [self.first_id, self.last_id], [shard["first_id"], shard.get("last_id")]
        if ids != expected:
            yield f"first and last id are {ids}, the manifest says {expected}"
