"""Journal: what a partition tells of itself while it is written, for those who watch it from outside.

`_run/part-NNNNN.journal` is there from the partition's beginning until it is done; who finds it without a done-file
knows that somebody writes the partition, or died of it. It holds a JSON line for each dead letter, {"reject": ...},
and at most one a second as a sign of life, {"read": how many}.
"""

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from pipelines.source import Reject

_TICK_SECONDS = 1.0


class Place(NamedTuple):
    """A step that is about to be made with one candidate; before its name is known, the one before it is named."""

    ordinal: int  # of the candidate in its partition, from 0
    stage: str  # "next": finding it; "read"; "tokenize": that, and writing; "save": the partition's end
    episode_id: str
    source_uri: str
    source_index: int


Watch = Callable[[Place | Reject], None]  # told of each step before it is made, and of each dead letter


def journal_path(folder: Path, index: int) -> Path:
    return folder / "_run" / f"part-{index:05d}.journal"


class Journal:
    """The journal of a partition, a `Watch`: use it in `with`. Raises OSError where it cannot be written."""

    def __init__(self, folder: Path, index: int) -> None:
        self._path = journal_path(folder, index)

    def __enter__(self) -> "Journal":
        self._file = open(self._path, "wb", buffering=0)  # what is told is told, however this process ends
        self._next = 0.0
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def __call__(self, event: Place | Reject) -> None:
        if isinstance(event, Reject):
            self._write({"reject": dataclasses.asdict(event)})
        elif event.stage == "read" and time.monotonic() >= self._next:
            self._next = time.monotonic() + _TICK_SECONDS
            self._write({"read": event.ordinal})

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write((json.dumps(line, ensure_ascii=False) + "\n").encode())


class JournalReader:
    """Follows a journal while it grows: `rejects` and `read` as far as they are known."""

    def __init__(self, path: Path) -> None:
        self.path, self.size, self.read = path, 0, 0
        self.rejects: list[Reject] = []

    def refresh(self) -> bool:
        """Read what is new; True where there is any. Raises FileNotFoundError where the journal is gone."""
        with open(self.path, "rb") as file:
            file.seek(self.size)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        for line in map(json.loads, whole.splitlines()):
            self.read = line.get("read", self.read)
            if "reject" in line:
                self.rejects.append(Reject(**line["reject"]))
        self.size += len(whole)
        return bool(whole)
