"""What a worker must have before it writes: this release, the folder that grows, and the inputs."""

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import os
import platform
import socket
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import gato_tokenize
from gato_tokenize.storage.durable import durable_file
from gato_tokenize.storage.store_path import Place, StorePath, place
from gato_tokenize.version import __version__
from pipelines.conversion.work_folder import WorkFolder
from pipelines.processes.forked import call_forked
from pipelines.running.failure import RunnerError
from pipelines.sources import open_source
from pipelines.sources.errors import SourceError

_PACKAGES = ("apache-beam", "numpy", "pillow", "sentencepiece")  # what the bytes of every source depend on
_MOST_INPUTS = 100  # files that a worker looks for, spread over all
_SECONDS = 120.0  # for a look at the inputs; a file system that has lost its server may never answer


@dataclasses.dataclass(frozen=True)
class WorkerCheck:
    """What the command that gives the work knows of itself, for a worker to compare with.

    folder: the work folder. notes: where files are that last no longer than a run. here: the folder in which the
    command was given, where relative paths start. token: names the files by which a run and its workers see each other.
    inputs: (path, bytes; -1 for a folder).
    """

    folder: str
    notes: str
    here: str
    token: str
    versions: tuple[tuple[str, str], ...]
    sources: tuple[str, ...]
    inputs: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, folder: WorkFolder) -> "WorkerCheck":
        plan = folder.plan
        paths = [Path(str(given["uri"]).partition("#")[0]) for given in plan.inputs]
        there = sorted({(str(path), _size(path)) for path in paths if path.exists()})
        return cls(
            _absolute(folder.path),
            _absolute(folder.notes),
            os.getcwd(),
            uuid.uuid4().hex,
            tuple(versions().items()),
            tuple(sorted({work.source for work in plan.partitions})),
            tuple(there[:: len(there) // _MOST_INPUTS + 1]),
        )

    @contextlib.contextmanager
    def offered(self) -> Iterator[None]:
        """Let workers check themselves until the block ends."""
        _touch(self._note("command"))
        try:
            yield
        finally:
            for name in self._names():
                (place(self.notes) / name).unlink(missing_ok=True)

    def run(self) -> None:
        """Check the process of a worker; once in each, however often it is called.

        Raises RunnerError, which names this host, what it lacks, and how to go on.
        """
        _checked(self)

    def answers(self) -> int:
        """Return the number of workers whose answers are seen by the command."""
        return sum("worker" in name for name in self._names())

    def _note(self, who: str) -> Place:
        return WorkFolder.note_path(place(self.notes), f"{who}-{self.token}")

    def _names(self) -> list[str]:
        return [path.name for path in place(self.notes).iterdir() if self.token in path.name]

    def fault(self) -> str | None:
        """Return what is wrong with this process or its machine, as words after "the worker on HOST"."""
        shared = "every worker needs the inputs and --out on a file system that all share, at the same path"
        try:
            if not place(self.folder).is_dir():
                return f"does not see {self.folder}: {shared}"
            if not _may_write(place(self.notes)):
                return f"may not write to {self.folder}: let its user write there"
            if not self._note("command").exists():
                return f"sees another folder at {self.folder} than the command does: {shared}"
        except (OSError, ValueError) as error:  # a store that does not answer, or a package that is missing
            return f"cannot look at {self.folder}: {error}"
        for (name, wanted), found in zip(self.versions, versions().values(), strict=True):
            if found != wanted:
                return f"has {name} {found}, and the command has {wanted}: install the same on all machines"
        try:
            _touch(self._note(f"worker-{socket.gethostname()}-{os.getpid()}"))
        except OSError as error:
            return f"cannot write to {self.folder}: {error}"
        try:
            fault: str | None = call_forked(functools.partial(_look, self), _SECONDS)
            return fault
        except (TimeoutError, ChildProcessError) as error:
            return f"cannot look at the inputs: {error}"


@functools.lru_cache(maxsize=8)
def _checked(check: WorkerCheck) -> None:
    fault = check.fault()
    if fault is not None:
        raise RunnerError(f"the worker on {socket.gethostname()} {fault}")


def _look(check: WorkerCheck) -> str | None:
    """Open the sources and look for the inputs, in a fork: paths start in the folder of the command there."""
    try:
        work_in(check.here)
    except OSError as error:
        return f"does not see the folder {check.here}, in which the command was given: {error.strerror}"
    for name, size in check.inputs:
        path = Path(name)
        if not path.exists():
            return f"does not see the input {path.absolute()}: every worker needs the inputs, at the same path"
        if _size(path) != size:
            return f"sees {_size(path)} bytes of the input {path.absolute()}, and the command saw {size}"
    for source in check.sources:
        try:
            open_source(source)
        except SourceError as error:
            return f"cannot open {source}: {error}"
    return None


def work_in(folder: str) -> None:
    """Make `folder` the current one of this process, and find modules there, last, as the command does."""
    os.chdir(folder)
    if not sys.flags.safe_path and folder not in sys.path:
        sys.path.append(folder)


def versions() -> dict[str, str]:
    """Return {name: version} of what must be the same on all machines, so that any of them writes the same bytes."""
    found = {"Python": ".".join(platform.python_version_tuple()[:2])}
    found["gato-toolchain"] = f"{__version__} (code {_code_sha256()[:12]})"
    return found | {name: importlib.metadata.version(name) for name in _PACKAGES}


@functools.cache
def _code_sha256() -> str:
    """Hash the modules that convert: a checkout changes without a new version."""
    digest = hashlib.sha256()
    for home in (Path(str(gato_tokenize.__file__)).parent, Path(__file__).parents[1]):
        for path in sorted(home.rglob("*.py")):
            digest.update(f"{path.relative_to(home).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _absolute(path: Place) -> str:
    return str(path) if isinstance(path, StorePath) else os.path.abspath(path)


def _may_write(folder: Place) -> bool:
    """Whether a store lets this process write shows when it does."""
    return isinstance(folder, StorePath) or os.access(folder, os.R_OK | os.W_OK | os.X_OK)


def _touch(path: Place) -> None:
    if isinstance(path, StorePath):
        with durable_file(path):
            pass
    else:
        path.touch()


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1
