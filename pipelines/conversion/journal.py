"""Journal: what a partition reports of itself while it is written, for a process that watches it.

`_run/part-NNNNN.journal` exists from the beginning of a partition until it is done: a process that finds it beside no
done-file knows that another one writes the partition, or died while it did. It holds a JSON line for each reject. At
most once a second, it is touched as a sign of life and gets a line with the number of candidates so far.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from pipelines.sources.reading import Reject, Step

_TICK_SECONDS = 1.0

OnStep = Callable[[Step | Reject], None]  # called before each step, and with each reject


class Journal:
    """The journal of a partition, an `OnStep`: use it in `with`. Raises OSError if it cannot be written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> "Journal":
        self._file = open(self._path, "wb", buffering=0)  # what is reported stays, however this process ends
        self._next = 0.0
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def __call__(self, event: Step | Reject) -> None:
        if isinstance(event, Reject):
            self._file.write(f"\n{json.dumps(event.to_json(), ensure_ascii=False)}\n".encode())
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + _TICK_SECONDS
            os.utime(self._file.fileno())  # needs no room on a full disk
            with contextlib.suppress(OSError):  # which costs the number alone
                self._file.write(b'\n{"read": %d}\n' % event.ordinal)


class JournalReader:
    """Follows a journal while it grows: `rejects` are those known so far, `read` is the number of candidates."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset, self._touched = path, 0, -1
        self.read = 0
        self.rejects: list[Reject] = []

    def refresh(self) -> bool:
        """Read what is new; returns whether there was a sign of life since the last call.

        Raises FileNotFoundError when the journal is gone.
        """
        with open(self._path, "rb") as file:
            touched = os.fstat(file.fileno()).st_mtime_ns
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        for line in filter(None, whole.split(b"\n")):
            self._take(line)
        self._offset += len(whole)
        alive, self._touched = touched != self._touched, touched
        return alive

    def _take(self, line: bytes) -> None:
        try:
            content = json.loads(line)
        except ValueError:  # a number that a full disk cut; a reject stands on a line of its own
            return
        if set(content) == {"read"}:
            self.read = max(self.read, content["read"])  # documents that waited are tokenized after later ones are read
        else:
            self.rejects.append(Reject(**content))
