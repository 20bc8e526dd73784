"""ArraySet: the arrays of a .npz file or of a folder of .npy files, of which a few rows are read at a time."""

import abc
import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from gato_tokenize.storage.address import RemoteError
from gato_tokenize.storage.remote_file import open_file
from pipelines.sources.formats.limits import check_field
from pipelines.sources.formats.npy import Header, read_header
from pipelines.sources.formats.places import (
    Size,
    files_in_folder,
    is_folder,
    require_size,
    size_of,
    sizes_of,
    stamped,
    total,
)
from pipelines.sources.formats.zip_files import zip_file

SUFFIX = ".npy"
KINDS = "fiubSU"  # of the arrays that are read: numbers, flags and texts
BLOCK_BYTES = 8 * 2**20  # of rows that are read and converted at once


class ArraySet(abc.ABC):
    """The arrays below a path, each by its name; what lies in a folder of the archive is called `folder/name`.

    headers: those of the arrays that can be read. unreadable: {name: why it cannot}. Pickled objects are never opened.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.headers: dict[str, Header] = {}
        self.unreadable: dict[str, str] = {}
        self._rows: dict[str, ArrayRows] = {}
        for name in self._names():
            try:
                with self._open(name) as file:
                    self.headers[name] = read_header(file, KINDS)
            except RemoteError:
                raise
            except Exception as error:  # zipfile, zlib and numpy raise errors of many kinds
                self.unreadable[name] = f"{error}"

    def rows(self, name: str) -> "ArrayRows":
        """The rows of an array, which stays open for the next episode.

        Raises ValueError if there is none of this name, or if it cannot be read.
        """
        if name not in self._rows:
            if name not in self.headers:
                there = ", ".join(self.headers) or "none"
                why = self.unreadable.get(name, f"there is no array of this name; arrays: {there}")
                raise ValueError(f"{name}: {why}")
            self._rows[name] = ArrayRows(lambda: self._open(name), self.headers[name], name)
        return self._rows[name]

    def close(self) -> None:
        for rows in self._rows.values():
            rows.close()
        self._rows.clear()

    @abc.abstractmethod
    def _names(self) -> list[str]: ...

    @abc.abstractmethod
    def _open(self, name: str) -> IO[bytes]: ...


class _Archive(ArraySet):
    def __init__(self, path: str) -> None:
        self._file = zip_file(path)
        try:
            super().__init__(path)
        except BaseException:
            self._file.close()
            raise

    def _names(self) -> list[str]:
        return sorted(name[: -len(SUFFIX)] for name in set(self._file.namelist()) if name.endswith(SUFFIX))

    def _open(self, name: str) -> IO[bytes]:
        return self._file.open(name + SUFFIX)

    def close(self) -> None:
        super().close()
        self._file.close()


class _Folder(ArraySet):
    def _names(self) -> list[str]:
        return [os.path.basename(path)[: -len(SUFFIX)] for path in _members(self.path)]

    def _open(self, name: str) -> IO[bytes]:
        return open_file(os.path.join(self.path, name + SUFFIX))


def open_set(path: str, size: Size | None = None) -> ArraySet:
    """Open a .npz file or a folder of .npy files.

    size: that it had when it was planned. Raises ValueError naming it if it is missing or damaged, or has another size
    now, and RemoteError if its address gives no answer.
    """
    with _named(path):
        folder = is_folder(path)
        found = total(_members(path).values()) if folder else size_of(path)
    if size is not None:
        require_size(path, found, size, stamped(size))
    with _named(path):
        return _Folder(path) if folder else _Archive(path)


@contextlib.contextmanager
def _named(path: str) -> Iterator[None]:
    try:
        yield
    except RemoteError:
        raise
    except Exception as error:  # zipfile raises errors of many kinds where bytes are damaged
        raise ValueError(f"{path} cannot be read: {error}") from error


def sizes_of_sets(paths: Sequence[str]) -> dict[str, Size]:
    """{path: the bytes of the file, or those of the .npy files of the folder}."""
    sizes = zip(paths, sizes_of(paths), strict=True)
    return {path: total(_members(path).values()) if size is None else size for path, size in sizes}


def _members(folder: str) -> dict[str, Size]:
    """{path: bytes} of the .npy files in a folder, by their names."""
    return {path: size for path, size in files_in_folder(folder).items() if path.endswith(SUFFIX)}


class ArrayRows:
    """Reads rows of one array, best in their order: earlier rows in a .npz are searched from the start of the array."""

    def __init__(self, open: Callable[[], IO[bytes]], header: Header, path: str) -> None:
        self._open, self._header, self._path = open, header, path
        self._file: IO[bytes] | None = None
        self._next = 0  # row at which the file is
        self._whole: NDArray[Any] | None = None  # an array in Fortran's order, whose rows do not lie together

    def __len__(self) -> int:
        return self._header.shape[0] if self._header.shape else 1

    def read(self, start: int, stop: int, convert: Callable[[Any], Any] = np.asarray) -> Any:
        """Return what `convert` makes of the rows [start, stop), a block at a time, as one array or list.

        Raises ValueError naming the array if it has fewer rows, is damaged, or has too many bytes.
        """
        if stop > len(self):
            raise ValueError(f"{self._path}: has {len(self)} rows, and the episode ends at row {stop}")
        each = max(1, BLOCK_BYTES // max(1, self._header.row_bytes))
        found: list[Any] = []
        size = 0
        for first in range(start, max(stop, start + 1), each):
            found.append(convert(self._block(first, min(stop, first + each))))
            size += sum(len(one) if isinstance(one, str | bytes) else one.nbytes for one in found[-1])
            check_field(self._path, f"{stop - start} rows", size)
        if isinstance(found[0], list):
            return [one for block in found for one in block]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def value(self) -> Any:
        """The value of an array without axes, or of one element."""
        return self._values(1, ()).reshape(-1)[0] if not self._header.shape else self.read(0, 1).reshape(-1)[0]

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._next, self._whole = None, 0, None

    def _block(self, start: int, stop: int) -> NDArray[Any]:
        if self._header.fortran:
            if self._whole is None:
                self._seek(0)
                flat = self._values(len(self), self._header.shape[1:]).reshape(-1)
                self._whole = flat.reshape(self._header.shape, order="F")
            return self._whole[start:stop]
        self._seek(start)
        values = self._values(stop - start, self._header.shape[1:])
        self._next = stop
        return values

    def _seek(self, row: int) -> None:
        if self._file is None or row < self._next:
            self.close()
            self._file = self._open()
            read_header(self._file, KINDS)
        if row > self._next:
            self._file.seek((row - self._next) * self._header.row_bytes, os.SEEK_CUR)
            self._next = row

    def _values(self, rows: int, shape: tuple[int, ...]) -> NDArray[Any]:
        """The next rows, in this machine's order of bytes."""
        if self._file is None:
            self._seek(0)
        assert self._file is not None
        dtype, size = self._header.dtype, rows * self._header.row_bytes
        check_field(self._path, f"{rows} rows", size)
        data = b"".join(_pieces(self._file, size))
        if len(data) != size:
            raise ValueError(f"{self._path}: it is cut: its last rows are missing")
        values = np.frombuffer(data, dtype).reshape(rows, *shape) if size else np.zeros((rows, *shape), dtype)
        return values.astype(dtype.newbyteorder("="), copy=False)


def _pieces(file: IO[bytes], size: int) -> Iterator[bytes]:
    """The next bytes of a file, as many as there are."""
    while size and (data := file.read(min(size, BLOCK_BYTES))):
        size -= len(data)
        yield data


class Slice:
    """The rows of an episode, read where they are sliced."""

    def __init__(self, rows: ArrayRows, start: int, stop: int, convert: Callable[[Any], Any] = np.asarray) -> None:
        self._rows, self._range, self._convert = rows, range(start, stop), convert

    def __len__(self) -> int:
        return len(self._range)

    def __getitem__(self, rows: slice) -> Any:
        wanted = self._range[rows]
        if not len(wanted):
            return self._convert(self._rows.read(0, 0))
        found = self._rows.read(wanted.start, wanted[-1] + 1, self._convert)
        return found[:: wanted.step]
