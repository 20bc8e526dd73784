"""JsonArray: the members of an array of a large JSON file, in their order or from any number on, in flat memory."""

import bisect
import itertools
import json
from collections.abc import Generator, Iterator
from typing import Any, BinaryIO

import ijson

from gato_tokenize.storage.remote_file import open_file
from pipelines.sources.formats.places import Size, require_unchanged, size_of_open, stamped

CHUNK = 2**16  # bytes that are parsed at once: to find a member anywhere, at most so many are parsed before it
NESTED = 1000  # brackets that a chunk may leave open: ijson's memory grows with the square of the depth
SKIPPED = 256  # members that are parsed and passed over rather than searched for anew


class JsonArray:
    """The array under a key of the object that a file holds, such as the "annotations" of COCO.

    `scan` must be run to its end first. It finds the number of members and the size of the file, and remembers a place
    in each chunk at which a member ends: 16 bytes for every 64 KiB. Whatever is wrong with the file is a ValueError
    that names it.
    """

    def __init__(self, path: str, key: str) -> None:
        self.path, self.key, self.count = path, key, 0
        self.size = Size(0)
        self._places, self._numbers = [0], [0]  # at byte [i] of the file, [i] members have ended

    def scan(self) -> Iterator[Any]:
        """Yield every member; the whole file is parsed."""
        self._places, self._numbers, self.count = [0], [0], 0
        with open_file(self.path) as file:
            self.size = size_of_open(file)
            feed = _Feed(self.path, file)
            for value in feed.members(self.key):
                self.count += 1
                if feed.ends_object and isinstance(value, dict):
                    self._places.append(feed.place)
                    self._numbers.append(self.count)
                    feed.give_the_rest()
                yield value

    def members(self, first: int) -> Generator[Any, None, None]:
        """Yield the members from number `first` on, in constant memory."""
        nearest = bisect.bisect_right(self._numbers, first) - 1
        place, number = self._places[nearest], self._numbers[nearest]
        with open_file(self.path) as file:
            require_unchanged(self.path, self.size, stamped(self.size), file)
            file.seek(place)
            # What follows a place is ", {...}, {...}]" and the rest of the file: after this head it is JSON again.
            head = f"{{{json.dumps(self.key)}: [0".encode() if place else b""
            values = _Feed(self.path, file, head, whole=True).members(self.key)
            yield from itertools.islice(values, first - number + (1 if head else 0), None)


class Cursor:
    """Reads single members of an array, fastest in their order. It holds the file open until it is closed."""

    def __init__(self, array: JsonArray) -> None:
        self._array = array
        self._members: Generator[Any, None, None] | None = None
        self._next = 0

    def member(self, number: int) -> Any:
        """Return member `number`. Raises ValueError as `JsonArray` does, OSError if the file cannot be read."""
        if self._members is None or not 0 <= number - self._next <= SKIPPED:
            self.close()
            self._members, self._next = self._array.members(number), number
        try:
            for value in self._members:
                self._next += 1
                if self._next > number:
                    return value
        except (ValueError, OSError):
            self.close()
            raise
        self.close()
        raise ValueError(f"{self._array.path}: {self._array.key} has no member {number}")

    def close(self) -> None:
        """Close the file; the next call of `member` opens it again."""
        if self._members is not None:
            self._members.close()
            self._members = None


class _Feed:
    """A file as ijson reads it. ijson asks for more when it has found everything in what it was given.

    Unless it is read `whole`, a chunk is given in pieces that end where an object ends, until `give_the_rest`: so it is
    known to the byte where the member ends that was found last.
    """

    def __init__(self, path: str, file: BinaryIO, head: bytes = b"", whole: bool = False) -> None:
        self._path, self._file, self._head, self._whole = path, file, head, whole
        self._chunk, self._at = b"", 0  # what was read last, and how much of it was given
        self._in_pieces = True
        self.place = 0  # bytes of the file that were given
        self.ends_object = False  # what was given last is a piece

    def members(self, key: str) -> Iterator[Any]:
        """Yield the members of the array under `key`."""
        try:
            yield from ijson.items(self, f"{key}.item", use_float=True)
        except (ijson.JSONError, ValueError) as error:  # ValueError: a number of thousands of digits
            raise ValueError(f"{self._path} is no whole JSON file: {_first_line(error)}") from error

    def read(self, size: int) -> bytes:
        """Return what ijson is to parse next, of any size; ijson itself asks for nothing at first."""
        if not size:
            return b""
        if self._head:
            data, self._head = self._head, b""
            return data
        if self._at == len(self._chunk):
            self._chunk, self._at, self._in_pieces = self._file.read(CHUNK), 0, not self._whole
            _check_depth(self._chunk)
        end = self._chunk.find(b"}", self._at) + 1 if self._in_pieces else 0
        self.ends_object = end > 0
        data = self._chunk[self._at : end or None]
        self._at += len(data)
        self.place += len(data)
        return data

    def give_the_rest(self) -> None:
        """Give what remains of the chunk at once."""
        self._in_pieces = False


def _check_depth(data: bytes) -> None:
    if data.count(b"[") + data.count(b"{") - data.count(b"]") - data.count(b"}") > NESTED:
        raise ValueError("it is nested too deeply")


def _first_line(error: Exception) -> str:
    """What ijson says, without the picture of the place that follows it; it may be bytes."""
    said = error.args[0] if error.args else ""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    return text.strip().partition("\n")[0]
