"""ZarrStore: a replay buffer on the disk, a folder or a .zip file."""

import os
import stat
import zipfile
from collections.abc import Iterator
from typing import Any

import zarr
import zarr.storage

from gato_tokenize.storage.address import is_address
from pipelines.sources.errors import SourceError
from pipelines.sources.formats.limits import MAX_FIELD_BYTES
from pipelines.sources.formats.matching import file_identity
from pipelines.sources.formats.places import files_below, is_file
from pipelines.sources.formats.zip_files import zip_file
from pipelines.sources.on_disk import OnDisk
from pipelines.sources.zarr.away import AwayStore

GROUPS, ARRAYS = (".zgroup", "zarr.json"), (".zarray", "zarr.json")  # their marks in Zarr's formats 2 and 3


class UnfitError(ValueError):
    """An array that no field can be made of, though nothing is damaged."""


class ZarrStore:
    """An open replay buffer, read-only. Nothing outside its folder or file is read, but links are followed.

    Raises ValueError naming what is wrong with it, and RemoteError if its address gives no answer.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._away = AwayStore(path) if is_address(path) else None
        self._file = self._away.file if self._away else None if os.path.isdir(path) else zipfile.ZipFile(path)
        self._names = frozenset(self._file.namelist() if self._file else self._away.sizes if self._away else ())
        self._top = _top_of(self._names, path) if self._file else ""
        self._store: Any = self._away or (
            zarr.storage.ZipStore(path, mode="r") if self._file else zarr.storage.LocalStore(path, read_only=True)
        )
        # Consolidated metadata is a copy that may be older than the arrays.
        self._root = zarr.open_group(self._store, path=self._top, mode="r", use_consolidated=False)

    def members(self, group: str = "") -> list[str]:
        """The names of the arrays and groups in a group, in order; none if there is no such group."""
        below = os.path.join(self._top, group, "")
        if self._file or self._away:
            names = {name[len(below) :].partition("/")[0] for name in self._names if name.startswith(below)}
        else:
            folder = os.path.join(self.path, group)
            names = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        return sorted(name for name in names if any(self.has(f"{below}{name}/{mark}") for mark in (*GROUPS, *ARRAYS)))

    def array(self, group: str, name: str) -> Any:
        """The array `name` in a group of the root. Raises UnfitError if it is a group, or if reading it could run
        code."""
        path = f"{group}/{name}"
        if not any(self.has(os.path.join(self._top, path, mark)) for mark in ARRAYS):
            raise UnfitError(f"{path}: is a group, and only arrays directly below {group} are read")
        for mark in ARRAYS:
            if b'"pickle"' in self._read(os.path.join(self._top, path, mark)):
                raise UnfitError(f"{path}: its values are pickled objects, which could run any code: it is not opened")
        try:
            found: Any = self._root[path]
        except Exception as error:
            if "imagecodecs" not in str(error) or not _registered():
                raise
            found = self._root[path]
        if not isinstance(found, zarr.Array):
            raise UnfitError(f"{path}: is a group, and only arrays directly below {group} are read")
        return found

    def has(self, key: str) -> bool:
        """Whether a key of Zarr, such as "data/action/0.0", is stored."""
        return key in self._names if self._file or self._away else os.path.isfile(os.path.join(self.path, key))

    def head(self, key: str, most: int) -> tuple[int, bytes]:
        """The number of bytes that are stored at a key, and the first of them."""
        if self._file:
            with self._file.open(key) as member:
                return self._file.getinfo(key).file_size, member.read(most)
        if self._away:
            return self._away.sizes[key], self._away.read(key, 0, most)
        with open(os.path.join(self.path, key), "rb") as file:
            return os.fstat(file.fileno()).st_size, file.read(most)

    def close(self) -> None:
        self._store.close()
        if self._file:
            self._file.close()

    def _read(self, key: str) -> bytes:
        """The bytes of a key, none if it is not stored."""
        return self.head(key, MAX_FIELD_BYTES)[1] if self.has(key) else b""


def _registered() -> bool:
    """Make the codecs of imagecodecs known to zarr; False if it is not installed."""
    try:
        import imagecodecs.numcodecs
    except ImportError:
        return False
    imagecodecs.numcodecs.register_codecs(verbose=False)
    return True


def has_ends(lying: OnDisk) -> bool:
    """Whether a folder or a .zip file has the array that every replay buffer has. Raises SourceError for a .zip file
    that cannot be opened."""
    marks = [f"meta/episode_ends/{mark}" for mark in ARRAYS]
    if lying.is_folder:
        return any(map(lying.has, marks))
    if not lying.path.endswith(".zip"):
        return False
    try:
        with zipfile.ZipFile(lying.path) as file:
            return any(f"/{name}".endswith(f"/{mark}") for name in file.namelist() for mark in marks)
    except (OSError, zipfile.BadZipFile) as error:
        raise SourceError(f"{lying.path} cannot be read: {error}") from error


def _top_of(names: frozenset[str], path: str) -> str:
    """The folder in a .zip file that holds the buffer: the top, or the only one there."""
    tops = {name.rpartition("/")[0] for name in names if name.rpartition("/")[2] in GROUPS}
    shortest = sorted(tops, key=lambda top: (len(top), top))
    if not shortest or any(other and not _is_below(other, shortest[0]) for other in shortest):
        raise ValueError(f"{path} holds no Zarr group, or several: {', '.join(shortest[:4]) or 'no ' + GROUPS[0]}")
    return shortest[0]


def _is_below(path: str, top: str) -> bool:
    return not top or path == top or path.startswith(top + "/")


def files_of(path: str) -> Iterator[tuple[str, int | None, int]]:
    """Yield (name, bytes, checksum) of each file of a store, in order; the checksum is 0 in a folder, and a link that
    leads nowhere has None bytes. Raises SourceError for what is neither a file nor a folder: opening it could hang."""
    if is_address(path) and not is_file(path):
        yield from ((name, size, 0) for name, size in files_below(path))
        return
    if not os.path.isdir(path):
        with zip_file(path) as file:
            yield from ((one.filename, one.file_size, one.CRC) for one in file.infolist())
        return
    yield from _below(path, "", set())


def _below(path: str, name: str, seen: set[Any]) -> Iterator[tuple[str, int | None, int]]:
    folder = os.path.join(path, name)
    if (identity := file_identity(folder)) in seen:  # links may lead in circles
        return
    seen.add(identity)
    for entry in sorted(os.listdir(folder), key=os.fsencode):
        child = os.path.join(name, entry)
        try:
            status = os.stat(os.path.join(path, child))
        except OSError:
            yield child, None, 0
            continue
        if stat.S_ISDIR(status.st_mode):
            yield from _below(path, child, seen)
        elif stat.S_ISREG(status.st_mode):
            yield child, status.st_size, 0
        else:
            raise SourceError(f"{os.path.join(path, child)} is neither a file nor a folder: take it away")
