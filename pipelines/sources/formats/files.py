"""Input files: which there are, what they hash to, and their content without the compression, flat in memory."""

import contextlib
import glob
import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from pipelines.sources.source import SourceError

CHUNK = 2**18
ZSTD_STEP = 2**10  # a zstd block of 4 bytes can grow to 128 KiB: 1 KiB fed at once gives 32 MiB at most
COMPRESSED = (".gz", ".zst")


def matching(pattern: str) -> list[str]:
    """The regular files that `pattern` names, in byte order; SourceError where there are none.

    `*`, `?`, `[...]` and `**` are wildcards, unless a file of just that name exists.
    """
    names = [pattern] if os.path.isfile(pattern) else glob.glob(pattern, recursive=True)
    files = sorted({name for name in names if os.path.isfile(name)}, key=os.fsencode)
    if not files:
        raise SourceError(f"no file matches {pattern!r}")
    for name in files:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise SourceError(f"the name of {os.fsencode(name)!r} is not UTF-8: no record can hold it") from error
        if name.endswith(".zst"):
            _need_zstandard(name)
    return files


def _need_zstandard(name: str) -> None:
    try:
        import zstandard  # noqa: F401
    except ImportError as error:
        raise SourceError(f"{name} needs zstandard: pip install 'gato-toolchain[text]' installs it") from error


class HashedFile:
    """A file that is read once, by whoever looks at it first, and hashed in passing."""

    def __init__(self, path: str, file: BinaryIO) -> None:
        self._path, self._file = path, file
        self._sha256, self._bytes = hashlib.sha256(), 0

    def read(self, size: int = CHUNK) -> bytes:
        chunk = self._file.read(size)
        self._sha256.update(chunk)
        self._bytes += len(chunk)
        return chunk

    def fingerprint(self) -> dict[str, Any]:
        """{"uri", "bytes", "sha256"} of the whole file; reads what nobody has read yet."""
        while self.read():
            pass
        return {"uri": self._path, "bytes": self._bytes, "sha256": self._sha256.hexdigest()}


@contextlib.contextmanager
def hashed(path: str) -> Iterator[HashedFile]:
    try:
        with open(path, "rb") as file:
            yield HashedFile(path, file)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error}") from error


def opened(path: str, size: int, start: int = 0) -> BinaryIO:
    """The content from byte `start` of a file that had `size` bytes when it was planned; .gz and .zst are unpacked.

    Raises ValueError where the file has another size now. Compressed data that is damaged or cut short raises an
    OSError when the reader gets there, and never ends as if it were whole.
    """
    file = open(path, "rb")
    try:
        found = os.fstat(file.fileno()).st_size
        if found != size:
            raise ValueError(f"{path} has changed since it was planned: {found} bytes now, {size} then; plan again")
        if not path.endswith(COMPRESSED):
            file.seek(start)
            return file
        pieces = _gunzipped(file) if path.endswith(".gz") else _unzstd(file)
        return io.BufferedReader(_Unpacked(path, size, file, pieces), CHUNK)
    except BaseException:
        file.close()
        raise


class _Unpacked(io.RawIOBase):
    """Pieces of content as a stream; the fault that ends them is told at every later read, too."""

    def __init__(self, path: str, size: int, file: BinaryIO, pieces: Iterator[bytes]) -> None:
        self._path, self._file, self._pieces = path, file, pieces
        self._rest, self._given = memoryview(b""), 0
        self._fault: Exception | None = None if size else EOFError("the file is empty")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest and not self._fault:
            try:
                self._rest = memoryview(next(self._pieces))
            except StopIteration:
                return 0
            except (OSError, EOFError, zlib.error) as error:
                self._fault = error
        if not self._rest:
            raise OSError(
                f"{self._path}: the compressed data is damaged or cut short: its content ends after "
                f"{self._given} bytes: {self._fault}"
            ) from self._fault
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        self._given += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def _gunzipped(file: BinaryIO) -> Iterator[bytes]:
    unpacked = gzip.GzipFile(fileobj=file)
    while piece := unpacked.read1(CHUNK):  # read() would lose what comes before a fault
        yield piece


def _unzstd(file: BinaryIO) -> Iterator[bytes]:
    import zstandard

    frame = None  # zstandard's own stream reader ends a frame that was cut short as if it were whole
    while data := file.read(ZSTD_STEP):
        while data:
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            try:
                piece = frame.decompress(data)
            except zstandard.ZstdError as error:
                raise OSError(str(error)) from error
            if piece:
                yield piece
            data, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
    if frame:
        raise EOFError("the last frame has no end")
