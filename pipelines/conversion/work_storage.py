"""Where a work folder lies: in a local folder that is renamed at the end, or in a store that knows no renames.

                   on a disk                                    in a store
files of the       <out>/<name>/.<version>.partial-<plan>/      <out>/<name>/<version>/, where they stay
dataset
what helps make    there, too                                   <out>/<name>/.<version>.partial-<plan>/
it
journals           there, too                                   in the folder for temporary files of each machine
one run at a time  a lock                                       a lease
published by       one rename, after the manifest               the manifest, which comes last
"""

import collections
import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

from gato_tokenize.storage.dataset import MANIFEST
from gato_tokenize.storage.durable import durable_file, sync_folder
from gato_tokenize.storage.store_path import TEMPORARY, Place, StorePath, files_below
from pipelines.conversion.lease import Lease, LeaseError

_LOCK_SECONDS = 3.0  # the time that the forks of a run which was killed just now may take to end
_AT_ONCE = 16  # requests to a store
_PLAN = "plan.json"  # beside a dataset in a store, as long as that is unfinished
_LISTED_SECONDS = 2.0  # that a listing of a store is good for, for those who watch

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class ConvertError(RuntimeError):
    """A conversion that cannot go on: another run holds the folder, or another plan made it."""


class WorkStorage(Protocol):
    """What a `WorkFolder` needs of the place where it lies.

    path: where the files of the dataset are. aside: where those are that help make it. lock: the descriptor that holds
    the lock, if there is one, for processes that are started.
    """

    lock: int | None

    @property
    def path(self) -> Place: ...
    @property
    def aside(self) -> Place: ...
    @property
    def journals(self) -> Path:
        """The local folder of the journals, which exists."""

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Keep other runs out until the block, and all processes that were started in it, have ended."""

    def check(self) -> None:
        """Raise ConvertError if another run may have come in meanwhile."""

    def begin(self, plan: bytes) -> None:
        """Make the place where the first file may come."""

    def run_files(self) -> set[str]:
        """Return the names of the files in `_run/` and of the journals, as of a few seconds ago at most."""

    def bytes_unfinished(self) -> int:
        """Return the bytes of the files that are being written, as far as they can be seen."""

    def clean(self) -> None:
        """Remove the temporary files of dead processes."""

    def each(self, function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
        """Yield what a function, which waits for files, returns for each item, in order; a few are called ahead."""

    def publish(self, final: Place, helped: Iterable[Place]) -> None:
        """Make the dataset appear as `final`, without the files that `helped` make it. The manifest is there."""

    def withdraw(self) -> None:
        """Remove what a run left that found the dataset published."""


class LocalWork:
    """A local folder."""

    def __init__(self, path: Path) -> None:
        self.path = self.aside = path
        self.lock: int | None = None

    @property
    def journals(self) -> Path:
        return self.path / "_run"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        descriptor = self._open()
        try:
            _lock(descriptor, self.path)
            self.lock = descriptor
            yield
        finally:
            self.lock = None
            os.close(descriptor)

    def _open(self) -> int:
        while True:
            self.path.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # another run renamed it in this instant
                return os.open(self.path, os.O_RDONLY)

    def check(self) -> None:
        pass

    def begin(self, plan: bytes) -> None:
        (self.path / "_run").mkdir(parents=True, exist_ok=True)

    def run_files(self) -> set[str]:
        return set(os.listdir(self.path / "_run"))

    def bytes_unfinished(self) -> int:
        return sum(_size(entry) for entry in os.scandir(self.path) if TEMPORARY in entry.name)

    def clean(self) -> None:
        for path in self.path.rglob(f"*{TEMPORARY}*"):
            path.unlink(missing_ok=True)
        _remove_journals(self.journals)

    def each(self, function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
        return map(function, items)

    def publish(self, final: Place, helped: Iterable[Place]) -> None:
        for path in helped:
            path.unlink(missing_ok=True)
        os.rename(self.path, final)
        sync_folder(final.parent)

    def withdraw(self) -> None:
        with contextlib.suppress(OSError):
            self.path.rmdir()  # made anew just now, and empty


class StoreWork:
    """The final place of a dataset in a store, and a folder beside it. name: of that folder."""

    def __init__(self, path: StorePath, name: str) -> None:
        self.path, self.aside = path, path.with_name(name)
        self.lock: int | None = None  # there is none
        self._lease: Lease | None = None
        self._listed: tuple[float, set[str]] = (float("-inf"), set())

    @functools.cached_property
    def journals(self) -> Path:
        mine = Path(tempfile.gettempdir(), f"gato-data-{os.getuid()}")
        mine.mkdir(mode=0o700, exist_ok=True)
        if mine.is_symlink() or mine.stat().st_uid != os.getuid():
            raise PermissionError(f"{mine} belongs to another user: set TMPDIR to another folder")
        folder = mine / hashlib.sha256(str(self.aside).encode()).hexdigest()[:16]
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        lease = Lease(self.aside / "lease", lambda text: print(f"gato-data: {self.path}: {text}", file=sys.stderr))
        try:
            try:
                lease.take()
            except LeaseError as error:
                raise ConvertError(
                    f"another run, {error}, is writing to {self.path}: wait for it. Nothing was changed"
                ) from error
            self._lease = lease
            yield
        finally:
            self._lease = None
            lease.withdraw()

    def check(self) -> None:
        try:
            if self._lease is not None:
                self._lease.check()
        except LeaseError as error:
            raise ConvertError(
                f"this run has lost its lease of {self.path} ({error}): give the same command again"
            ) from error

    def begin(self, plan: bytes) -> None:
        with durable_file(self.aside / _PLAN) as file:
            file.write(plan)

    def run_files(self) -> set[str]:
        began = time.monotonic()
        at, names = self._listed
        if began > at:
            names = {path.name for path in (self.path / "_run").iterdir()}
            took = time.monotonic() - began
            self._listed = began + max(_LISTED_SECONDS, 10 * took), names
        return names | set(os.listdir(self.journals))

    def bytes_unfinished(self) -> int:
        return 0  # the files have no names

    def clean(self) -> None:
        for folder in (self.path, self.aside):
            for name in files_below(folder):
                if TEMPORARY in name:
                    (folder / name).unlink(missing_ok=True)
            folder.abort_uploads()
        _remove_journals(self.journals)

    def each(self, function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            called: collections.deque[Future[_Result]] = collections.deque()
            for item in items:
                called.append(threads.submit(function, item))
                if len(called) > _AT_ONCE:
                    yield called.popleft().result()
            yield from (future.result() for future in called)

    def publish(self, final: Place, helped: Iterable[Place]) -> None:
        self.withdraw()

    def withdraw(self) -> None:
        names = sorted(files_below(self.aside), key=lambda name: name == _PLAN)  # last
        for some in (names[:-1], names[-1:]):
            list(self.each(lambda name: (self.aside / name).unlink(missing_ok=True), some))
        shutil.rmtree(self.journals, ignore_errors=True)


def is_made(out: Place) -> bool:
    """Return whether there is a dataset at `out`; on a disk, whether there is anything."""
    return (out / MANIFEST).is_file() if isinstance(out, StorePath) else out.exists()


def unfinished(out: Place) -> list[Place]:
    """Return the folders of all unfinished conversions into `out`, whatever their plans."""
    if not isinstance(out, StorePath) and not out.parent.is_dir():
        return []
    start = f".{out.name}.partial-"  # not a pattern: the name may have brackets
    found = (path for path in out.parent.iterdir() if path.name.startswith(start))
    return sorted(path for path in found if not isinstance(path, StorePath) or (path / _PLAN).is_file())


def _remove_journals(folder: Path) -> None:
    for path in folder.glob("*.journal"):
        path.unlink(missing_ok=True)


def _size(entry: "os.DirEntry[str]") -> int:
    try:
        return entry.stat().st_size
    except FileNotFoundError:  # done in this instant
        return 0


def _lock(descriptor: int, folder: Path) -> None:
    give_up = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > give_up:
                raise ConvertError(f"another run is writing to {folder}: wait for it. Nothing was changed") from error
        time.sleep(0.05)
