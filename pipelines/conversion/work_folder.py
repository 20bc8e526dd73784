"""The folder in which a conversion grows: the names of its files, what is planned, done and rejected. Where it lies, on
a disk or in a store, is the concern of its `WorkStorage`.
"""

import contextlib
import functools
import json
from multiprocessing import reduction
from pathlib import Path
from typing import Any

from gato_tokenize.storage.dataset import MANIFEST, DatasetTokenizer
from gato_tokenize.storage.durable import durable_file
from gato_tokenize.storage.place import describe
from gato_tokenize.storage.store_path import TEMPORARY, Place, StorePath, files_below, size_of_file
from gato_tokenize.storage.tfrecord import index_path
from pipelines.conversion.journal import JournalReader
from pipelines.conversion.plan import Plan
from pipelines.conversion.work import Done
from pipelines.conversion.work_storage import ConvertError as ConvertError
from pipelines.conversion.work_storage import LocalWork, StoreWork, WorkStorage, unfinished
from pipelines.sources.reading import Reject

PLAN = "_run/plan.json"


class WorkFolder:
    """The work folder of `plan`, which becomes the dataset: a finished dataset can be opened as one, too.

    Only this class knows the names of the files below `_run/` and `rejects/`. `index` is a partition's number in the
    plan.
    """

    def __init__(self, path: Place, plan: Plan) -> None:
        self.path, self.plan = path, plan
        aside = f".{path.name}.partial-{plan.sha256[:16]}"
        self.storage: WorkStorage = StoreWork(path, aside) if isinstance(path, StorePath) else LocalWork(path)

    def __reduce__(self) -> tuple[Any, ...]:
        """Give a process that is being started the folder as it was saved, and the lock."""
        return _given, (self.path, None if self.storage.lock is None else reduction.DupFd(self.storage.lock))

    @classmethod
    def of(cls, plan: Plan, out: Place) -> "WorkFolder":
        """Return the folder in which the dataset `out` grows; it need not exist yet."""
        if isinstance(out, StorePath):  # where nothing can be renamed
            return cls(out, plan)
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
        return (self.path / MANIFEST).is_file()

    def save(self, tokenizer: DatasetTokenizer) -> None:
        """Write the tokenizer and the plan, from which any process can do the work."""
        self.storage.begin(self.plan.to_json().encode())
        tokenizer.save(self.path)
        self.tokenizer = tokenizer
        with durable_file(self.path / PLAN) as file:
            file.write(self.plan.to_json().encode())

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Make the folder, and keep other runs out until this process, and those that are started with it, have ended
        in whatever way.

        Raises ConvertError if another run holds it. That run may have finished, and published the dataset, before this
        one gets in: check again whether it is there.
        """
        return self.storage.locked()

    def clean(self) -> None:
        """Remove the temporary files and journals of dead processes. Only a run that is `locked` in may do this."""
        self.storage.clean()

    def run_files(self) -> set[str]:
        """Return the names of the files in `_run/` and of the journals: one request, however many partitions there
        are."""
        return self.storage.run_files()

    @property
    def notes(self) -> Place:
        """The folder of files that last no longer than a run."""
        return self.storage.aside / "_run"

    @staticmethod
    def note_path(notes: Place, name: str) -> Place:
        """Return the path of a file in the folder `notes` of a work folder: `clean` removes it."""
        return notes / f".{name}{TEMPORARY}note"

    # The files of one partition.

    def shard_path(self, split: str, index: int) -> Place:
        return self.path / self.plan.shard(split, index)

    def done_path(self, index: int) -> Place:
        return self.path / "_run" / f"part-{index:05d}.done.json"

    def episodes_path(self, index: int) -> Place:
        return self.storage.aside / "_run" / f"part-{index:05d}.episodes.jsonl.gz"

    def journal_path(self, index: int) -> Path:
        return self.storage.journals / f"part-{index:05d}.journal"

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

    def _whole(self, file: str, bytes: int, records: int = 1, **_: Any) -> bool:
        """Return whether a shard is there; publishing leaves one without a record only where its split has others."""
        shard = self.path / file
        with contextlib.suppress(FileNotFoundError):
            return not records or (size_of_file(shard) == bytes and index_path(shard).is_file())
        return False

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


def count_done(out: Place) -> int:
    """Return the number of partitions that are done in the unfinished conversions into `out`."""
    folders = [out] if isinstance(out, StorePath) and unfinished(out) else unfinished(out)
    return sum(name.endswith(".done.json") for path in folders for name in files_below(path))


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
    folder.storage.lock = None if lock is None else lock.detach()
    return folder


def _quarantined(entry: dict[str, Any]) -> tuple[int, Reject]:
    ordinal: int = entry["ordinal"]
    return ordinal, Reject(**entry["reject"], lost_from=ordinal if entry["ends_partition"] else None)


def _json_line(line: dict[str, Any]) -> bytes:
    """Return a line of rejects/."""
    return (json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _json(content: Any, ensure_ascii: bool = False) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=ensure_ascii) + "\n").encode()
