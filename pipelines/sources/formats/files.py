"""Input files: hashing them, and reading their decompressed content in constant memory."""

import contextlib
import hashlib
import io
import json
import types
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from gato_tokenize.storage.address import RemoteError
from gato_tokenize.storage.remote_file import open_file
from pipelines.sources.errors import SourceError
from pipelines.sources.formats.decompression import CHUNK, LimitError, decompressor
from pipelines.sources.formats.places import require_unchanged, size_of_open, stamped


class HashedFile:
    """A file that is hashed while it is read, so that planning reads it only once."""

    def __init__(self, path: str, file: BinaryIO) -> None:
        self._path, self._file = path, file
        self._sha256, self._bytes = hashlib.sha256(), 0
        self._size = size_of_open(file)

    def read(self, size: int = CHUNK) -> bytes:
        chunk = self._file.read(size)
        self._sha256.update(chunk)
        self._bytes += len(chunk)
        return chunk

    def fingerprint(self) -> dict[str, Any]:
        """Return {"uri", "bytes", "sha256"} of the whole file, after reading the rest of it.

        Of a file at an address the rest is not read: there is a "stamp" (see `Size`) if its file system has one, and a
        "sha256" only if everything was read before.
        """
        stamp = stamped(self._size)
        if stamp and self._bytes != self._size:
            return {"uri": self._path, "bytes": int(self._size), **stamp}
        while self.read():
            pass
        return {"uri": self._path, "bytes": self._bytes, "sha256": self._sha256.hexdigest(), **stamp}


def names_and_sizes(folder: str, files: Iterable[tuple[Any, ...]]) -> dict[str, Any]:
    """Return many files as one input; their content is read only when it is converted.

    files: (name, bytes or None if it is missing) in order, and what else planning found in each, as JSON. If the bytes
    are a `Size`, its stamp counts, too.
    """
    digest, total = hashlib.sha256(), 0
    for file in files:
        digest.update(f"{json.dumps((*file, *stamped(file[1]).values()))}\n".encode())
        total += file[1] or 0
    return {"uri": f"{folder}#files", "bytes": total, "sha256": digest.hexdigest()}


@contextlib.contextmanager
def hashed(path: str) -> Iterator[HashedFile]:
    try:
        with open_file(path) as file:
            yield HashedFile(path, file)
    except RemoteError:
        raise  # the network is at fault: the same command may succeed later
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error}") from error


def opened(path: str, size: int, start: int = 0, said: Mapping[str, Any] = types.MappingProxyType({})) -> BinaryIO:
    """Open a file that had `size` bytes when it was planned, at byte `start`, from 0 if the file is compressed.

    said: the part of a partition that says more of it, as `stamped` does. Raises ValueError if the file has another
    size or stamp now. Compressed data that is damaged or truncated raises an OSError
    when the reader reaches the fault; it never ends as if it were whole. Data that needs too much memory to be
    decompressed raises LimitError.
    """
    file = open_file(path)
    try:
        require_unchanged(path, size, said, file)
        decompress = decompressor(path)
        if decompress is None:
            file.seek(start)
            return file
        return io.BufferedReader(_Unpacked(path, size, file, decompress(file)), CHUNK)
    except BaseException:
        file.close()
        raise


class _Unpacked(io.RawIOBase):
    """A stream of decompressed chunks. The fault that ends them is raised again by every later read."""

    def __init__(self, path: str, size: int, file: BinaryIO, chunks: Iterator[bytes]) -> None:
        self._path, self._file, self._chunks = path, file, chunks
        self._rest, self._given = memoryview(b""), 0
        self._fault: Exception | None = None if size else EOFError("the file is empty")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest and not self._fault:
            try:
                self._rest = memoryview(next(self._chunks))
            except StopIteration:
                return 0
            except (OSError, EOFError, LimitError, zlib.error) as error:
                self._fault = error
        if not self._rest:
            self._raise_unless_damaged()
            raise OSError(
                f"{self._path}: the compressed data is damaged or cut short: its content ends after "
                f"{self._given} bytes: {self._fault}"
            ) from self._fault
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        self._given += count
        return count

    def _raise_unless_damaged(self) -> None:
        if isinstance(self._fault, LimitError):
            raise LimitError(f"{self._path}: {self._fault}") from self._fault
        if isinstance(self._fault, RemoteError):
            raise self._fault
        if isinstance(self._fault, OSError) and self._fault.errno is not None:  # the disk is at fault, not the data
            raise OSError(self._fault.errno, self._fault.strerror, self._path) from self._fault

    def close(self) -> None:
        self._file.close()
        super().close()
