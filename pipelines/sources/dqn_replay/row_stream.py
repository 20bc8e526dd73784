"""RowStream: the rows of a .npy array in a gzip file, read forward in flat memory."""

import os
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gato_tokenize.storage.address import RemoteError
from pipelines.sources.formats.files import opened
from pipelines.sources.formats.limits import check_field
from pipelines.sources.formats.npy import Header, read_header
from pipelines.sources.formats.places import Size, size_of, stamped

BLOCK_BYTES = 2**20  # that are unpacked at once where rows are passed over


class RowStream:
    """Stays open from one call to the next, because gzip can only be read from its beginning on: rows in their order
    are unpacked once, and an earlier row costs a new beginning.

    The stream belongs to the process that opened it: a fork opens the file anew. Whatever is wrong is a ValueError or
    an OSError that names the file. What comes after damage in the compressed data cannot be read; that is found once.
    """

    def __init__(self, path: str, size: Size | None = None) -> None:
        """size: that the file had when it was planned."""
        self._path, self._size = path, size
        self._file: BinaryIO | None = None
        self._process = 0
        self._next = 0  # the row that the file is at
        self._fault: tuple[int, str] | None = None  # the row from which on none can be read, and why
        self._shape: tuple[int, ...] = ()
        self._dtype = np.dtype(np.uint8)

    @property
    def rows(self) -> int:
        """Raises as `read` does, like the two below."""
        self._describe()
        return self._shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row."""
        self._describe()
        return self._shape[1:]

    @property
    def dtype(self) -> np.dtype[Any]:
        self._describe()
        return self._dtype

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return the rows [start, stop). With the last row of the file, its checksum is compared."""
        if self._fault and stop > self._fault[0]:
            raise ValueError(self._fault[1])
        self._describe()
        if stop > self._shape[0]:
            raise ValueError(f"{self._path}: has {self._shape[0]} rows, and row {stop - 1} is asked for")
        if self._file is None or self._process != os.getpid() or start < self._next:
            self.close()
            self._open()
        each = int(np.prod(self._shape[1:], dtype=object)) * self._dtype.itemsize
        check_field(self._path, f"{stop - start} rows", (stop - start) * each)
        try:
            self._pass_over((start - self._next) * each)
            self._next = start
            data = self._bytes((stop - start) * each)
            if stop == self._shape[0] and self._the_file.read(1):
                raise ValueError(f"{self._path}: holds more than the {stop} rows that its header states")
        except RemoteError:
            self.close()
            raise
        except (ValueError, OSError, EOFError) as error:
            self._fault = (self._next if self._next < start else start, _named(self._path, error))
            self.close()
            raise ValueError(self._fault[1]) from error
        self._next = stop
        return np.frombuffer(data, self._dtype).reshape(stop - start, *self._shape[1:])

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __del__(self) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self._path, "size": self._size}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    @property
    def _the_file(self) -> BinaryIO:
        assert self._file is not None
        return self._file

    def _describe(self) -> None:
        """Read the header, unless it is known."""
        if not self._shape:
            self._open()

    def _open(self) -> None:
        if self._fault and not self._shape:
            raise ValueError(self._fault[1])
        self._file = _opened(self._path, self._size)
        self._process = os.getpid()
        try:
            header = _header(self._file)
            self._shape, self._dtype = header.shape, header.dtype
            if not self._shape:
                raise ValueError("it holds a single value, and no rows")
        except RemoteError:
            self.close()
            raise
        except (ValueError, OSError, EOFError) as error:
            self.close()
            self._fault = 0, _named(self._path, error)
            raise ValueError(self._fault[1]) from error
        self._next = 0

    def _pass_over(self, count: int) -> None:
        """Unpack bytes, and forget them. `_next` follows row by row, so that a fault is known to its row."""
        each = max(1, int(np.prod(self._shape[1:], dtype=object)) * self._dtype.itemsize)
        at_once = max(1, BLOCK_BYTES // each)
        while count:
            size = min(count, at_once * each)
            self._bytes(size)
            self._next += size // each
            count -= size

    def _bytes(self, count: int) -> bytearray:
        data = bytearray(count)
        view, done = memoryview(data), 0
        while done < count:
            size = self._the_file.readinto(view[done:])  # type: ignore[attr-defined]
            if not size:
                raise EOFError(f"it ends {count - done} bytes before a row that its header states")
            done += size
        return data


def _opened(path: str, planned: Size | None) -> BinaryIO:
    size = size_of(path) if planned is None else planned
    return opened(path, size, 0, stamped(size))


def read_number(path: str, size: Size | None = None) -> int:
    """Read a .npy in a gzip file that holds one whole number. size: as of a `RowStream`. Raises ValueError or OSError
    naming the file."""
    with _opened(path, size) as file:
        try:
            header = _header(file)
            if int(np.prod(header.shape, dtype=object)) != 1 or header.dtype.kind not in "iu":
                raise ValueError(f"expected one whole number, got {header.dtype}{list(header.shape)}")
            return int(np.frombuffer(file.read(header.dtype.itemsize), header.dtype)[0])
        except RemoteError:
            raise
        except (ValueError, IndexError, OSError, EOFError) as error:
            raise ValueError(_named(path, error)) from error


def _header(file: BinaryIO) -> Header:
    """Read the header of a .npy of numbers. Raises ValueError if it cannot be read row by row."""
    header = read_header(file, "biuf")
    if header.fortran:
        raise ValueError("its values are in Fortran's order, so that no row can be read alone")
    return header


def _named(path: str, error: Exception) -> str:
    return str(error) if path in str(error) else f"{path}: {error}"
