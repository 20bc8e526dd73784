"""Files read by ranges: of the local disk, or of a store through a bounded cache on the local disk."""

import hashlib
import io
import os
import threading
from typing import BinaryIO, Protocol, cast

from gato_tokenize.storage.address import Facts
from gato_tokenize.storage.block_cache import BLOCK, BlockCache, block_cache
from gato_tokenize.storage.remote_file import RemoteFile
from gato_tokenize.storage.store_path import Place, StorePath

_AHEAD = 8  # blocks that one request fetches at most when a file is read from its beginning to its end
_STREAM = 8 << 20  # bytes of a request where nothing is cached
_HASHED = 1 << 18  # bytes that are hashed at a time


class Ranges(Protocol):
    """An open file of which any range can be read, by several threads at a time."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Read `size` bytes from byte `offset` on; fewer at the end of the file."""


class LocalRanges:
    """A file of the local disk; it is closed when it is let go."""

    def __init__(self, path: "str | os.PathLike[str]") -> None:
        self._descriptor = -1
        self._descriptor = os.open(path, os.O_RDONLY)

    def read_at(self, offset: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, offset)

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


class StoreRanges:
    """A file of a store. `cache`: where its blocks are kept; None: every range is asked for as it is.

    A file whose version the store does not tell is not cached: it might have been replaced since. Raises
    FileNotFoundError if there is none.
    """

    def __init__(self, path: StorePath, cache: BlockCache | None) -> None:
        facts = path.facts
        if facts is None:
            raise FileNotFoundError(f"{path} is not there")
        self.path, self.size = path, facts.bytes
        self._cache = cache if facts.stamp else None
        self._key = f"{path}\n{facts.bytes}\n{facts.stamp}"
        self._whole = None if facts.ranges else _Whole(path, facts)  # of a server that gives no parts
        self._next, self._ahead = 0, 1  # the byte that reading in order would ask for; blocks that are fetched then

    def read_at(self, offset: int, size: int) -> bytes:
        stop = min(offset + size, self.size)
        if stop <= offset:
            return b""
        if self._whole is not None:
            return self._whole.read_at(offset, stop)
        if self._cache is None:
            return self.path.read_range(offset, stop)
        self._ahead = min(self._ahead * 2, _AHEAD) if offset == self._next and offset else 1
        self._next = stop
        first, last = offset // BLOCK, (stop - 1) // BLOCK
        data = b"".join(self._block(self._cache, number, last) for number in range(first, last + 1))
        return data[offset - first * BLOCK : stop - first * BLOCK]

    def _block(self, cache: BlockCache, number: int, last: int) -> bytes:
        return cache.block(self._key, number, lambda: self._fetched(cache, number, last))

    def _fetched(self, cache: BlockCache, first: int, last: int) -> list[bytes]:
        """Fetch a block, and in the same request those after it that are wanted and not there."""
        wanted = min(max(last - first + 1, self._ahead), -(-self.size // BLOCK) - first)
        count = next((place for place in range(1, wanted) if cache.has(self._key, first + place)), wanted)
        start, stop = first * BLOCK, min((first + count) * BLOCK, self.size)
        data = self.path.read_range(start, stop)
        return [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)]


class _Whole:
    def __init__(self, path: StorePath, facts: Facts) -> None:
        self._file, self._lock = RemoteFile(str(path), facts), threading.Lock()

    def read_at(self, offset: int, stop: int) -> bytes:
        with self._lock:
            self._file.seek(offset)
            return self._file.read(stop - offset) or b""


class _Reader(io.RawIOBase):
    def __init__(self, ranges: StoreRanges) -> None:
        self._ranges, self._offset = ranges, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._offset = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._offset, os.SEEK_END: self._ranges.size}[whence]
        return self._offset

    def tell(self) -> int:
        return self._offset

    def readinto(self, into: "bytearray | memoryview") -> int:  # type: ignore[override]
        data = self._ranges.read_at(self._offset, len(into))
        into[: len(data)] = data
        self._offset += len(data)
        return len(data)


def open_ranges(path: Place) -> Ranges:
    """Open a file, to read ranges of it. Raises OSError."""
    return StoreRanges(path, block_cache()) if isinstance(path, StorePath) else LocalRanges(path)


def open_stream(path: Place, cached: bool = True) -> BinaryIO:
    """Open a file, to read it as a stream that can be sought.

    cached: whether what is read of a file in a store may be, and will be, in the cache; if not, every byte comes from
    the store. Raises OSError.
    """
    if not isinstance(path, StorePath):
        return open(path, "rb")
    ranges = StoreRanges(path, block_cache() if cached else None)
    return cast(BinaryIO, io.BufferedReader(_Reader(ranges), BLOCK // 4 if cached else _STREAM))


def sha256_of_file(path: Place) -> str:
    """Return the sha256 of a file, in hexadecimal, as it is: nothing of it is taken from the cache."""
    digest = hashlib.sha256()
    with open_stream(path, cached=False) as file:
        while data := file.read(_HASHED):
            digest.update(data)
    return digest.hexdigest()
