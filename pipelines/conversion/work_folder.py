"""The folder in which a conversion grows: the names of its files, its lock, what is planned, done and rejected.

<out>/<name>/.<version>.partial-<plan hash>/    grows here
<out>/<name>/<version>/                         after the one rename
"""

import contextlib
import fcntl
import functools
import json
import os
import time
from collections.abc import Iterator
from multiprocessing import reduction
from pathlib import Path
from typing import Any

from gato_tokenize.storage.dataset import MANIFEST, DatasetTokenizer
from gato_tokenize.storage.durable import durable_file
from gato_tokenize.storage.place import describe
from gato_tokenize.storage.store_path import TEMPORARY, Place, files_below, size_of_file
from gato_tokenize.storage.tfrecord import index_path
from pipelines.conversion.journal import JournalReader
from pipelines.conversion.plan import Plan
from pipelines.conversion.work import Done
from pipelines.sources.reading import Reject

PLAN = "_run/plan.json"
_LOCK_SECONDS = 3.0  # the time that the forks of a run which was killed just now may take to end


class ConvertError(RuntimeError):
    """A conversion that cannot go on: another run holds the folder, or another plan made it."""


class WorkFolder:
    """The work folder of `plan`, which becomes the dataset: a finished dataset can be opened as one, too.

    Only this class knows the names of the files below `_run/` and `rejects/`. `index` is a partition's number in the
    plan.
    """

    def __init__(self, path: Place, plan: Plan) -> None:
        self.path, self.plan = path, plan
        self._lock: int | None = None  # the descriptor that holds the lock

    def __reduce__(self) -> tuple[Any, ...]:
        """Give a process that is being started the folder as it was saved, and the lock."""
        return _given, (self.path, None if self._lock is None else reduction.DupFd(self._lock))

    @classmethod
    def of(cls, plan: Plan, out: Place) -> "WorkFolder":
        """Return the folder in which the dataset `out` grows; it need not exist yet."""
        return cls(out.with_name(f".{out.name}.partial-{plan.sha256[:16]}"), plan)

    @classmethod
    def open(cls, path: Place) -> "WorkFolder":
        """Open a folder that has a plan: unfinished work or a dataset.

        Raises FileNotFoundError if it has none, ValueError if that is damaged.
        """
        text = (path / PLAN).read_text(encoding="utf-8")
        try:
            return cls(path, Plan.from_json(text))
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{path / PLAN} is damaged: {error}") from error

    @functools.cached_property
    def tokenizer(self) -> DatasetTokenizer:
        """The tokenizer that `save` put there."""
        return DatasetTokenizer.load(self.path)

    @property
    def indices(self) -> range:
        """The numbers of the partitions."""
        return range(len(self.plan.partitions))

    @property
    def complete(self) -> bool:
        """True if the manifest is written: at most the last rename is left to do."""
        return (self.path / MANIFEST).exists()

    def save(self, tokenizer: DatasetTokenizer) -> None:
        """Write the tokenizer and the plan, from which any process can do the work."""
        (self.path / "_run").mkdir(parents=True, exist_ok=True)
        tokenizer.save(self.path)
        self.tokenizer = tokenizer
        with durable_file(self.path / PLAN) as file:
            file.write(self.plan.to_json().encode())

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder, and lock it until this process, and those that are started with it, have ended in whatever
        way.

        Raises ConvertError if another run holds it. That run may have finished, and renamed the folder, before this
        one gets the lock: check again whether the output exists.
        """
        descriptor = self._open()
        try:
            _lock(descriptor, self.path)
            self._lock = descriptor
            yield
        finally:
            self._lock = None
            os.close(descriptor)

    def _open(self) -> int:
        while True:
            self.path.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # another run renamed it in this instant
                return os.open(self.path, os.O_RDONLY)

    def clean(self) -> None:
        """Remove the temporary files and journals of dead processes. Only the holder of the lock may do this."""
        left = (self.path / name for name in files_below(self.path) if TEMPORARY in name)
        for path in (*left, *map(self.journal_path, self.indices)):
            path.unlink(missing_ok=True)

    def run_files(self) -> set[str]:
        """Return the names of the files in `_run/`: one system call, however many partitions there are."""
        return set(os.listdir(self.path / "_run"))

    @staticmethod
    def note_path(path: Path, name: str) -> Path:
        """Return the path of a file in the work folder `path` that lasts no longer than a run: `clean` removes it."""
        return path / "_run" / f".{name}{TEMPORARY}note"

    # The files of one partition.

    def shard_path(self, split: str, index: int) -> Place:
        return self.path / self.plan.shard(split, index)

    def done_path(self, index: int) -> Place:
        return self.path / "_run" / f"part-{index:05d}.done.json"

    def episodes_path(self, index: int) -> Place:
        return self.path / "_run" / f"part-{index:05d}.episodes.jsonl.gz"

    def journal_path(self, index: int) -> Path:
        return Path(self.path, "_run", f"part-{index:05d}.journal")

    def quarantine_path(self, index: int) -> Place:
        return self.path / "_run" / f"part-{index:05d}.quarantine.json"

    def rejects_path(self, index: int) -> Place:
        return self.path / "rejects" / f"part-{index:05d}.jsonl"

    def recorded(self, index: int) -> Done | None:
        """Return the content of a partition's done-file, or None if there is none."""
        path = self.done_path(index)
        return Done.from_json(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None

    def done(self, index: int) -> Done | None:
        """Return the same as `recorded`, but None if a shard that the done-file names is missing or has another size.

        Raises ValueError for the done-file of another plan.
        """
        done = self.recorded(index)
        if done is None:
            return None
        if done.plan_sha256 != self.plan.sha256 or done.partition != index:
            path = self.done_path(index)
            raise ValueError(f"{path} belongs to another plan: remove the folder {self.path}, or give another --out")
        return done if all(self._whole(**shard) for shard in done.shards.values()) else None

    def _whole(self, file: str, bytes: int, **_: Any) -> bool:
        shard = self.path / file
        return shard.exists() and size_of_file(shard) == bytes and index_path(shard).exists()

    def write_done(self, index: int, done: Done) -> Done:
        """Write the done-file of a partition, whose other files must all be there."""
        with durable_file(self.done_path(index)) as file:
            file.write(_json(done.to_json(), ensure_ascii=True))
        return done

    def quarantine(self, index: int) -> dict[int, Reject]:
        """Return {ordinal: its reject} of the candidates that must not be touched again, because a process died or hung
        at them. Every later attempt leaves out the same ones, and so gives the same shard."""
        path = self.quarantine_path(index)
        return dict(map(_quarantined, json.loads(path.read_text(encoding="utf-8")))) if path.exists() else {}

    def add_to_quarantine(self, index: int, ordinal: int, reject: Reject) -> None:
        """Leave out one more candidate of a partition, from now on."""
        rejects = {**self.quarantine(index), ordinal: reject}
        entries = [
            {"ordinal": ordinal, "ends_partition": reject.ends_partition, "reject": reject.to_json()}
            for ordinal, reject in sorted(rejects.items())
        ]
        with durable_file(self.quarantine_path(index)) as file:
            file.write(_json(entries))

    def write_rejects(self, index: int, rejects: list[Reject]) -> None:
        """Write the rejects of a partition, if there are any."""
        if not rejects:
            return
        path = self.rejects_path(index)
        path.parent.mkdir(exist_ok=True)
        with durable_file(path) as file:
            file.writelines(_json_line(reject.to_json()) for reject in rejects)

    def rejects(self, index: int) -> list[Reject]:
        """Return the rejects of a partition: if it is not done, those that are quarantined or reported so far."""
        done = self.recorded(index)
        if done is None:
            known = list(self.quarantine(index).values())
            return known + [reject for reject in self._reported(index) if reject not in known]
        path = self.rejects_path(index)
        lines = path.read_bytes().splitlines() if path.exists() else []
        lost = {done.rest_lost.reject: done.rest_lost.from_} if done.rest_lost else {}
        return [Reject(**json.loads(line), lost_from=lost.get(number)) for number, line in enumerate(lines)]

    def _reported(self, index: int) -> list[Reject]:
        journal = JournalReader(self.journal_path(index))
        with contextlib.suppress(FileNotFoundError):
            journal.refresh()
        return journal.rejects

    def all_rejects(self) -> list[tuple[int, Reject]]:
        """Return (partition, reject) for all partitions in order, including those that are not done."""
        return [(index, reject) for index in self.indices for reject in self.rejects(index)]


def unfinished(out: Place) -> list[Place]:
    """Return the work folders of all unfinished conversions into `out`, whatever their plans."""
    if not out.parent.is_dir():
        return []
    start = f".{out.name}.partial-"  # not a pattern: the name may have brackets
    return sorted(path for path in out.parent.iterdir() if path.name.startswith(start))


def count_done(out: Place) -> int:
    """Return the number of partitions that are done in the unfinished conversions into `out`."""
    return sum(name.endswith(".done.json") for path in unfinished(out) for name in files_below(path))


def find(folder: Place) -> WorkFolder:
    """Open the dataset or work folder `folder` itself, or else the unfinished conversion into it.

    Raises FileNotFoundError if there is neither, ValueError if there are several.
    """
    if (folder / "_run").is_dir():
        return WorkFolder.open(folder)
    found = unfinished(folder)
    if len(found) > 1:
        raise ValueError(f"{folder} has several unfinished conversions: name one of {', '.join(map(str, found))}")
    if not found:
        raise FileNotFoundError(
            f"{folder} is no dataset, nor is there an unfinished conversion into it: {describe(folder)}"
        )
    return WorkFolder.open(found[0])


def _given(path: Place, lock: Any) -> WorkFolder:
    folder = WorkFolder.open(path)
    folder._lock = None if lock is None else lock.detach()
    return folder


def _lock(descriptor: int, folder: Place) -> None:
    give_up = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > give_up:
                raise ConvertError(f"another run is writing to {folder}: wait for it. Nothing was changed") from error
        time.sleep(0.05)


def _quarantined(entry: dict[str, Any]) -> tuple[int, Reject]:
    ordinal: int = entry["ordinal"]
    return ordinal, Reject(**entry["reject"], lost_from=ordinal if entry["ends_partition"] else None)


def _json_line(line: dict[str, Any]) -> bytes:
    """Return a line of rejects/."""
    return (json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _json(content: Any, ensure_ascii: bool = False) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=ensure_ascii) + "\n").encode()
