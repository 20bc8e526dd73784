"""BlockCache: blocks of files in stores, kept in a local folder that all processes of a user share.

It is never larger than its bound, but for what processes wrote since they last looked. Whatever fails in it costs a
request to the store, and no more.
"""

import contextlib
import functools
import hashlib
import os
import struct
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import google_crc32c

from gato_tokenize.byte_size import size_of

BLOCK = 1 << 20  # bytes: of a request that takes tens of milliseconds, a third more
FOLDER, SIZE = "GATO_CACHE", "GATO_CACHE_SIZE"  # environment variables: the folder, and the most that it may hold
DEFAULT_SIZE = "10G"
_CRC = struct.Struct("<I")
_LOOKS = 16  # a process looks again what lies in the folder after it wrote this part of its bound
_KEPT = 0.9  # of the bound, when the oldest blocks are removed
_STALE = 3600.0  # seconds after which a temporary file is that of a dead process


class BlockCache:
    """Blocks of at most `most` bytes in all, in `folder`. Threads and processes may share it.

    Raises OSError if the folder cannot be made.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self.folder, self.most = folder, most
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._unseen = most  # bytes written since the last look: the first block makes this process look
        self._lock = threading.Lock()
        self._fetching = [threading.Lock() for _ in range(64)]

    def block(self, key: str, number: int, fetch: Callable[[], list[bytes]]) -> bytes:
        """Return block `number` of the file that `key` names.

        fetch: called if it is not there, and returns it with blocks that follow it, which are kept, too. Threads that
        want the same block wait for one of them to fetch it.
        """
        with self._fetching[hash((key, number)) % len(self._fetching)]:
            found = self._get(key, number)
            if found is not None:
                return found
            blocks = fetch()
            for place, data in enumerate(blocks):
                with contextlib.suppress(OSError):  # a full disk
                    self._put(key, number + place, data)
            return blocks[0]

    def has(self, key: str, number: int) -> bool:
        return self._path(key, number).exists()

    def _path(self, key: str, number: int) -> Path:
        digest = hashlib.sha256(f"{key}\n{number}".encode()).hexdigest()
        return self.folder / digest[:2] / digest

    def _get(self, key: str, number: int) -> bytes | None:
        path = self._path(key, number)
        try:
            stored = path.read_bytes()
            os.utime(path)  # the oldest go first
        except OSError:
            return None
        data = stored[_CRC.size :]
        if len(stored) < _CRC.size or _CRC.unpack_from(stored)[0] != google_crc32c.value(data):
            path.unlink(missing_ok=True)  # cut by a crash
            return None
        return data

    def _put(self, key: str, number: int, data: bytes) -> None:
        path = self._path(key, number)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        temporary = path.with_name(f".{uuid.uuid4().hex}")
        try:
            temporary.write_bytes(_CRC.pack(google_crc32c.value(data)) + data)
            os.replace(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        with self._lock:
            self._unseen += len(data)
            if self._unseen > self.most // _LOOKS:
                self._unseen = 0
                self._make_room()

    def _make_room(self) -> None:
        """Remove the blocks that were not used for the longest time, if there are too many."""
        found: list[tuple[float, int, str]] = []
        for folder in os.scandir(self.folder):
            with contextlib.suppress(OSError):  # another process removes them, too
                for entry in os.scandir(folder.path):
                    status = entry.stat()
                    if entry.name.startswith(".") and time.time() - status.st_mtime > _STALE:
                        os.unlink(entry.path)
                    else:
                        found.append((status.st_mtime, status.st_size, entry.path))
        held = sum(size for _, size, _ in found)
        if held <= self.most:
            return
        for _, size, path in sorted(found):
            with contextlib.suppress(OSError):
                os.unlink(path)
            held -= size
            if held <= self.most * _KEPT:
                return


def block_cache() -> BlockCache | None:
    """Return the cache that the environment asks for: GATO_CACHE is its folder (default: gato-toolchain/blocks in the
    user's folder for caches), GATO_CACHE_SIZE its bound (default 10G); None if that is 0 or the folder cannot be made.

    Raises ValueError for a GATO_CACHE_SIZE that is no size.
    """
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = os.environ.get(FOLDER) or os.path.join(home, "gato-toolchain", "blocks")
    try:
        most = size_of(os.environ.get(SIZE) or DEFAULT_SIZE)
    except ValueError as error:
        raise ValueError(f"the environment variable {SIZE}: {error}") from error
    return _cache_in(folder, most)


@functools.cache
def _cache_in(folder: str, most: int) -> BlockCache | None:
    with contextlib.suppress(OSError):
        return BlockCache(Path(folder), most) if most else None
    return None
