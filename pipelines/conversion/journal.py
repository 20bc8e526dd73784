"""Journal: what a partition tells of itself while it is written, for those who watch it from outside.

`_run/part-NNNNN.journal` is there from the partition's beginning until it is done; who finds it without a done-file
knows that somebody writes the partition, or died of it. It holds a JSON line for each dead letter; it is touched as a
sign of life, once a second at most.
"""

import dataclasses
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from pipelines.sources.source import Reject

_TICK_SECONDS = 1.0


class Place(NamedTuple):
    """A step that is about to be made with one candidate; before its name is known, the one before it is named."""

    ordinal: int  # of the candidate in its partition, from 0
    stage: str  # "next": finding it; "read"; "tokenize": that, and writing; "save": the partition's end
    episode_id: str
    source_uri: str
    source_index: int


Watch = Callable[[Place | Reject], None]  # told of each step before it is made, and of each dead letter


class Journal:
    """The journal of a partition, a `Watch`: use it in `with`. Raises OSError where it cannot be written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> "Journal":
        self._file = open(self._path, "wb", buffering=0)  # what is told is told, however this process ends
        self._next = 0.0
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def __call__(self, event: Place | Reject) -> None:
        if isinstance(event, Reject):
            self._file.write((json.dumps(dataclasses.asdict(event), ensure_ascii=False) + "\n").encode())
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + _TICK_SECONDS
            os.utime(self._file.fileno())  # takes no room on a disk that is full


class JournalReader:
    """Follows a journal while it grows: `rejects` are those known so far."""

    def __init__(self, path: Path) -> None:
        self._path, self._read, self._touched = path, 0, -1
        self.rejects: list[Reject] = []

    def refresh(self) -> bool:
        """Read what is new; True where there is any sign of life since the last time. Raises FileNotFoundError where
        the journal is gone."""
        with open(self._path, "rb") as file:
            touched = os.fstat(file.fileno()).st_mtime_ns
            file.seek(self._read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self.rejects += [Reject(**json.loads(line)) for line in whole.splitlines()]
        self._read += len(whole)
        alive, self._touched = touched != self._touched, touched
        return alive
