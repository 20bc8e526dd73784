"""The folder in which a conversion grows: the names of its files, its lock, what is done."""

import contextlib
import dataclasses
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gato_tokenize.storage.dataset import DatasetTokenizer
from gato_tokenize.storage.durable import TEMPORARY, durable_file
from gato_tokenize.storage.tfrecord import index_path
from pipelines.conversion.journal import JournalReader
from pipelines.conversion.plan import Plan
from pipelines.conversion.selection import Quarantined
from pipelines.sources.source import Reject

_LOCK_SECONDS = 3.0  # that the forks of a run which was killed just now may take to end


class ConvertError(RuntimeError):
    """A conversion that cannot go on: another run holds the folder, or another plan made it."""


def partial_folder(plan: Plan, out: Path) -> Path:
    return out.with_name(f".{out.name}.partial-{plan.sha256[:16]}")


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process and its forks; the lock goes with the last of them, however they die."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    give_up = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > give_up:
                raise ConvertError(f"another run is writing to {folder}: wait for it. Nothing was changed") from error
        time.sleep(0.05)


def _clean(folder: Path) -> None:
    """Remove the temporary files and journals of the dead; nobody else writes here while the folder is locked."""
    for path in (*folder.rglob(f"*{TEMPORARY}*"), *folder.glob("_run/*.journal")):
        path.unlink(missing_ok=True)


def _save_plan(plan: Plan, tokenizer: DatasetTokenizer, folder: Path) -> None:
    tokenizer.save(folder)
    with durable_file(folder / PLAN) as file:
        file.write(plan.to_json().encode())


def dead_letters(folder: Path) -> Iterator[tuple[int, Reject]]:
    """(partition, dead letter) of a dataset or a work folder, in order of partitions.

    A partition that is not done has those that it has told so far, and those that are quarantined.
    """
    done = {int(path.name.split(".")[0].removeprefix("part-")) for path in folder.glob("_run/part-*.done.json")}
    begun = {int(path.name.split(".")[0].removeprefix("part-")): path for path in folder.glob("_run/part-*.journal")}
    held = {int(path.name.split(".")[0].removeprefix("part-")) for path in folder.glob("_run/part-*.quarantine.json")}
    for index in sorted({*done, *begun, *held}):
        if index in done:
            letters = read_rejects(folder, index)
        else:
            letters = [entry.reject for entry in read_quarantine(folder, index).values()]
            letters += [letter for letter in _told(begun.get(index)) if letter not in letters]
        yield from ((index, letter) for letter in letters)


def _told(journal: Path | None) -> list[Reject]:
    if journal is None:
        return []
    reader = JournalReader(journal)
    reader.refresh()
    return reader.rejects


def work_folder(folder: Path) -> Path:
    """`folder` itself, or the unfinished work of a conversion that was to make it.

    Raises FileNotFoundError where there is neither, ValueError where there are several.
    """
    if (folder / "_run").is_dir():
        return folder
    found = sorted(folder.parent.glob(f".{folder.name}.partial-*"))
    if len(found) > 1:
        raise ValueError(f"{folder} has several unfinished conversions: name one of {', '.join(map(str, found))}")
    if not found:
        raise FileNotFoundError(f"{folder} is no dataset, nor is there an unfinished conversion of it")
    return found[0]


PLAN = "_run/plan.json"


def done_path(folder: Path, index: int) -> Path:
    return folder / "_run" / f"part-{index:05d}.done.json"


def episodes_path(folder: Path, index: int) -> Path:
    return folder / "_run" / f"part-{index:05d}.episodes.jsonl.gz"


def rejects_path(folder: Path, index: int) -> Path:
    return folder / "rejects" / f"part-{index:05d}.jsonl"


def read_done(folder: Path, plan: Plan, index: int) -> dict[str, Any] | None:
    """The done-file of a partition, or None where it, or a file that it names, is not there as it says."""
    path = done_path(folder, index)
    if not path.exists():
        return None
    done: dict[str, Any] = json.loads(path.read_text())
    files = [(folder / shard["file"], shard["bytes"]) for shard in done["shards"].values()]
    if done["plan_sha256"] != plan.sha256 or done["partition"] != index:
        raise ValueError(f"{path} belongs to another plan: remove the folder {folder}, or give another --out")
    whole = all(shard.exists() and shard.stat().st_size == size for shard, size in files)
    return done if whole and all(index_path(shard).exists() for shard, _ in files) else None


def write_done(folder: Path, index: int, done: dict[str, Any]) -> dict[str, Any]:
    """Write a partition's done-file: all that it speaks of must be there."""
    with durable_file(done_path(folder, index)) as file:
        file.write((json.dumps(done, indent=1, sort_keys=True) + "\n").encode())
    return done


def read_rejects(folder: Path, index: int) -> list[Reject]:
    """The dead letters of a partition that is done."""
    path = rejects_path(folder, index)
    return [Reject(**json.loads(line)) for line in path.read_bytes().splitlines()] if path.exists() else []


def json_line(line: dict[str, Any]) -> bytes:
    """A line of episodes.jsonl.gz or of rejects/."""
    return (json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n").encode()


def quarantine_path(folder: Path, index: int) -> Path:
    return folder / "_run" / f"part-{index:05d}.quarantine.json"


def read_quarantine(folder: Path, index: int) -> dict[int, Quarantined]:
    """{ordinal: what is left out} of a partition; empty where nothing is."""
    path = quarantine_path(folder, index)
    if not path.exists():
        return {}
    entries = [{**entry, "reject": Reject(**entry["reject"])} for entry in json.loads(path.read_text())]
    return {entry["ordinal"]: Quarantined(**entry) for entry in entries}


def add_to_quarantine(folder: Path, index: int, left_out: Quarantined) -> None:
    """Leave out one more, from now on."""
    entries = {**read_quarantine(folder, index), left_out.ordinal: left_out}
    lines = [dataclasses.asdict(entries[ordinal]) for ordinal in sorted(entries)]
    with durable_file(quarantine_path(folder, index)) as file:
        file.write((json.dumps(lines, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())


def journal_path(folder: Path, index: int) -> Path:
    return folder / "_run" / f"part-{index:05d}.journal"
