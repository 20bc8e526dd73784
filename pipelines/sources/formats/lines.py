"""Lines: how a file of lines is cut into pieces, how a piece is read, and the JSON object of a line."""

import itertools
import json
from collections.abc import Iterator
from typing import Any, NamedTuple, NotRequired, TypedDict

from pipelines.sources.formats.decompression import decompressor
from pipelines.sources.formats.files import HashedFile, hashed, opened
from pipelines.sources.pieces import RECORD_BYTES, Mark, Piece, spans

MAX_DOCUMENT_BYTES = 64 * 2**20


class LineRange(TypedDict):
    """Some lines of a file, as JSON: the bytes [start, stop) of a plain file, or all of a compressed one."""

    uri: str
    bytes: int  # of the whole file, when it was planned
    start: int
    stop: int
    line: int  # number of the first line, from 1
    lines: int | None  # at most so many; None, as it is planned today: all
    stamp: NotRequired[str]  # of a file at an address, see `places.Size`


class Line(NamedTuple):
    number: int  # from 1
    data: bytes  # without its "\n" or "\r\n"; only the beginning if it is longer than MAX_DOCUMENT_BYTES
    stop: int  # the byte of the content at which the next line begins


def pieces_of(path: str) -> tuple[dict[str, Any], list[Piece]]:
    """Read a file once: (its fingerprint, its pieces, each a `LineRange`). A compressed file is one piece."""
    compressed = decompressor(path) is not None
    with hashed(path) as file:
        found = [] if compressed else spans(_marks(file))
        source = file.fingerprint()
    if compressed:
        return source, [Piece(line_range(source, 0, source["bytes"], 1), source["bytes"], path)]
    return source, [
        Piece(line_range(source, start.byte, stop.byte, start.number + 1), stop.weight - start.weight)
        for start, stop in found
    ]


def join(one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any] | None:
    """The lines of two pieces in a row; None if these are not of one file, or are whole files."""
    return {**one, "stop": two["stop"]} if one["uri"] == two["uri"] and "stop" in two else None


def _marks(file: HashedFile) -> Iterator[Mark]:
    """Yield the last end of a line in each chunk, and the end of the file."""
    offset, count, last = 0, 0, b"\n"
    while chunk := file.read():
        border = offset + chunk.rfind(b"\n") + 1
        if border > offset:
            count += chunk.count(b"\n")
            yield Mark(border, count, border + RECORD_BYTES * count)
        offset, last = offset + len(chunk), chunk[-1:]
    count += last != b"\n"
    yield Mark(offset, count, offset + RECORD_BYTES * count)


def line_range(source: dict[str, Any], start: int, stop: int, line: int) -> LineRange:
    """Name lines of the file whose fingerprint is `source`."""
    found = LineRange(uri=source["uri"], bytes=source["bytes"], start=start, stop=stop, line=line, lines=None)
    return LineRange(**found, stamp=source["stamp"]) if "stamp" in source else found


def read(piece: LineRange) -> Iterator[Line]:
    """Yield the lines of a piece. Only "\\n" and "\\r\\n" end a line.

    Raises ValueError if the file has changed since it was planned, and as `opened` does if it is compressed.
    """
    stop = None if decompressor(piece["uri"]) else piece["stop"]
    offset = piece["start"]
    numbers = itertools.count(piece["line"]) if piece["lines"] is None else range(piece["line"], _stop(piece))
    with opened(piece["uri"], piece["bytes"], offset, piece) as file:
        for number in numbers:
            if offset == stop:
                return
            data = rest = file.readline(MAX_DOCUMENT_BYTES + 2)
            while rest and not rest.endswith(b"\n"):
                offset += len(rest)
                rest = file.readline(MAX_DOCUMENT_BYTES)
            offset += len(rest)
            if stop is None and not data:
                return
            if not data or (stop is not None and offset > stop):
                raise ValueError(f"{piece['uri']} has changed since it was planned: no line ends at byte {stop}")
            yield Line(number, data.removesuffix(b"\n").removesuffix(b"\r") if data.endswith(b"\n") else data, offset)


def _stop(piece: LineRange) -> int:
    return piece["line"] + (piece["lines"] or 0)


def text_of(data: bytes, where: str) -> str:
    """Decode UTF-8; ValueError names the first byte (from 1) that is invalid. A byte order mark stays, as U+FEFF."""
    if len(data) > MAX_DOCUMENT_BYTES:
        raise ValueError(
            f"{where}: longer than {MAX_DOCUMENT_BYTES} bytes, the most that a document may have: split it"
        )
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}, byte {error.start + 1}: not UTF-8 ({error.reason})") from error


def without_ends(text: str) -> str:
    r"""Remove a byte order mark at the beginning of a text, and the ends of lines at its end.

    >>> without_ends("\ufeff A cat.\r\n")
    ' A cat.'
    """
    return text.removeprefix("\ufeff").rstrip("\r\n")


def object_of(text: str, where: str) -> dict[str, Any]:
    """Parse a JSON object; ValueError names the column (from 1) of the fault."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno} " if error.lineno > 1 else ""
        raise ValueError(f"{where}, {line}column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise ValueError(f"{where}: JSON nested too deeply") from error
    except ValueError as error:  # a number of thousands of digits
        raise ValueError(f"{where}: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{where}: expected a JSON object, got {type(value).__name__}")
    return value


def string_of(record: dict[str, Any], key: str, where: str) -> str:
    """Return record[key], a str that UTF-8 can encode; ValueError otherwise."""
    if key not in record:
        raise ValueError(f"{where}: no key {key!r}; it has {[known[:40] for known in sorted(record)[:20]]}")
    value = record[key]
    if not isinstance(value, str):
        raise ValueError(f"{where}: {key!r} must be a string, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{where}: {key!r} holds half a surrogate pair at {error.start}, no character") from error
    return value


def id_of(record: dict[str, Any], key: str, where: str) -> str:
    """Return record[key], a string or a whole number, as an episode's id; ValueError otherwise."""
    value = record.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    text = string_of(record, key, where)
    if not text:
        raise ValueError(f"{where}: {key!r} is empty: an id needs at least one character")
    return text
