"""RemoteFile: a file at an address, read in parts, of which a bounded number is kept; a failed request is repeated."""

import contextlib
import errno
import functools
import io
import os
from typing import Any, BinaryIO

from gato_tokenize.storage.address import (
    ChangedError,
    Facts,
    RemoteError,
    asked,
    facts_in,
    facts_of,
    filesystem,
    full,
    is_address,
)

BLOCK_BYTES = 2**20  # of a request
BLOCKS = 32  # that are kept of each open file
MOST_AT_ONCE = 2**25  # bytes of a request for more than a block
_TELLING = {"s3", "s3a", "gs", "gcs"}  # whose open files say what is known of them, so that it is not asked for twice
MOST_WHOLE = 2**26  # bytes of a file that is read at once because its server gives no parts


class RemoteFile(io.RawIOBase):
    """An object that is read in parts.

    facts: what its file system said when it was opened; where it tells that this is no longer true, reading raises
    ChangedError. Any other OSError has `errno` set as well, and names the address.
    """

    def __init__(self, address: str, facts: Facts, file: Any = None) -> None:
        self.address, self.facts = address, facts
        self._place = 0
        self._file = file  # fsspec's; it is opened by the first request, and anew after one that failed
        self._failed = False
        self._ranges = facts.ranges
        self._whole: bytes | None = None  # what a server sends that gives no parts
        self._block = functools.lru_cache(BLOCKS)(self._fetched_block)

    @property
    def name(self) -> str:
        return self.address

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self.facts.bytes}[whence]
        if start + offset < 0:
            raise OSError(errno.EINVAL, "a place before the beginning", self.address)
        self._place = start + offset
        return self._place

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), self.facts.bytes - self._place)
        if count <= 0:
            return 0
        number, start = divmod(self._place, BLOCK_BYTES)
        if count >= 2 * BLOCK_BYTES:  # through the cache it would take a request for each block
            data = self._fetched(self._place, self._place + min(count, MOST_AT_ONCE))
        else:
            data = self._block(number)[start : start + count]
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._block.cache_clear()
            self._let_go()
        super().close()

    def _fetched_block(self, number: int) -> bytes:
        start = number * BLOCK_BYTES
        return self._fetched(start, min(start + BLOCK_BYTES, self.facts.bytes))

    def _fetched(self, start: int, stop: int) -> bytes:
        if self._ranges:
            try:
                return asked(self.address, functools.partial(self._request, start, stop))
            except ValueError as error:
                if "range" not in str(error):
                    raise
                self._ranges = False  # a server that was asked for a part and sent the whole
        self._whole = self._all() if self._whole is None else self._whole
        return self._whole[start:stop]

    def _request(self, start: int, stop: int) -> bytes:
        try:
            if self._file is None:
                self._file = self._opened()
            self._file.seek(start)
            data = bytes(self._file.read(stop - start))
        except BaseException:
            self._failed = True
            self._let_go()
            raise
        if len(data) != stop - start:
            self._failed = True
            self._let_go()
            raise ConnectionError(f"{len(data)} bytes came of the {stop - start} from byte {start}")
        return data

    def _opened(self) -> Any:
        if self._failed and facts_of(self.address) != self.facts:
            raise ChangedError(self.address)
        found, path = filesystem(self.address)
        options: dict[str, Any] = {"cache_type": "none"}
        if self.address.lower().startswith("http"):
            options["size"] = self.facts.bytes
            if self.facts.stamp.startswith('"'):  # an ETag that stands for these very bytes
                options["headers"] = {"If-Match": self.facts.stamp}
        return found.open(path, "rb", **options)

    def _all(self) -> bytes:
        if self.facts.bytes > MOST_WHOLE:
            raise OSError(
                errno.ENOTSUP,
                f"its server does not give parts of a file, and it has {self.facts.bytes} bytes: copy it to a local"
                " disk, and give that",
                self.address,
            )

        def request() -> bytes:
            found, path = filesystem(self.address)
            data = bytes(found.cat_file(path))
            if len(data) != self.facts.bytes:
                raise ConnectionError(f"{len(data)} bytes came of {self.facts.bytes}")
            return data

        return asked(self.address, request)

    def _let_go(self) -> None:
        with contextlib.suppress(Exception):
            if self._file is not None:
                self._file.close()
        self._file = None


def facts_of_open(file: BinaryIO) -> Facts | None:
    """Return the facts of a file that `open_file` opened at an address; None of a local one."""
    raw = getattr(file, "raw", None)
    return raw.facts if isinstance(raw, RemoteFile) else None


def remote_error(error: BaseException) -> RemoteError | None:
    """Return the RemoteError behind an error of a library that was reading; None if there is none."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, RemoteError):
        found = found.__cause__ or found.__context__
    return found


def open_file(path: "str | os.PathLike[str]") -> BinaryIO:
    """Open a file for reading bytes, at a local path or an address. It can seek.

    Raises OSError as `open` does, FileNotFoundError where nothing is.
    """
    if not is_address(path):
        return open(path, "rb")
    address = full(path)
    file = None
    if address.partition(":")[0].lower() in _TELLING:
        found, place = filesystem(address)
        file = asked(address, lambda: found.open(place, "rb", cache_type="none"))
        facts = facts_in(file.details)
    else:
        facts = facts_of(address)
    if facts is None:
        raise FileNotFoundError(errno.ENOENT, "no file is there", address)
    return io.BufferedReader(RemoteFile(address, facts, file))
