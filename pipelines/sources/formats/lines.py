"""Lines: cutting a file of lines into pieces of work, reading a piece back, the JSON object of a line."""

import contextlib
import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypedDict

from pipelines.sources.formats.files import COMPRESSED, hashed, opened

PIECE_BYTES = 64 * 2**20
PIECE_LINES = 100_000
MAX_DOCUMENT_BYTES = 64 * 2**20


class Piece(TypedDict):
    """Lines of one file, as JSON: the bytes [start, stop) of a plain file, all of a compressed one."""

    uri: str
    bytes: int  # of the whole file, when it was planned
    start: int
    stop: int
    line: int  # number of the first line, from 1
    lines: int | None  # how many of them; None: all


class Line(NamedTuple):
    number: int  # from 1
    data: bytes  # without its "\n" or "\r\n"; only the beginning where it is longer than MAX_DOCUMENT_BYTES
    stop: int  # the byte behind it in the content


def cut(path: str) -> tuple[dict[str, Any], list[tuple[Piece, int | None]]]:
    """A file read once: its fingerprint, and its pieces with the number of lines in each (None: not known yet)."""
    compressed = path.endswith(COMPRESSED)
    borders = [(0, 0)]  # (byte, lines before it)
    offset, lines, last = 0, 0, b"\n"
    with hashed(path) as file:
        while not compressed and (chunk := file.read()):
            newline = chunk.rfind(b"\n")
            offset, lines, last = offset + len(chunk), lines + chunk.count(b"\n"), chunk[-1:]
            border = offset - len(chunk) + newline + 1
            if newline >= 0 and (border - borders[-1][0] >= PIECE_BYTES or lines - borders[-1][1] >= PIECE_LINES):
                borders.append((border, lines))
        source = file.fingerprint()
    if compressed:
        return source, [(_piece(source, 0, source["bytes"], 1), None)]
    if borders[-1][0] < offset:
        borders.append((offset, lines + (last != b"\n")))
    return source, [
        (_piece(source, start, stop, before + 1), after - before)
        for (start, before), (stop, after) in itertools.pairwise(borders)
    ]


def _piece(source: dict[str, Any], start: int, stop: int, line: int) -> Piece:
    return Piece(uri=source["uri"], bytes=source["bytes"], start=start, stop=stop, line=line, lines=None)


def read(piece: Piece) -> Iterator[Line]:
    """The lines of a piece. "\\n" ends a line, and so does "\\r\\n"; no other character does.

    Raises ValueError where the file has changed since it was planned, OSError where compressed data ends too early.
    """
    stop = None if piece["uri"].endswith(COMPRESSED) else piece["stop"]
    offset = piece["start"]
    numbers = itertools.count(piece["line"]) if piece["lines"] is None else range(piece["line"], _behind(piece))
    with opened(piece["uri"], piece["bytes"], offset) as file:
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


def _behind(piece: Piece) -> int:
    return piece["line"] + (piece["lines"] or 0)


def first(pieces: Iterable[tuple[Piece, int | None]], limit: int | None) -> Iterator[tuple[Piece, int | None]]:
    """The pieces of the first `limit` lines; a compressed file's lines are counted only here, where they must be."""
    for piece, count in pieces:
        if limit is None:
            yield piece, count
            continue
        if limit <= 0:
            return
        whole = count
        if count is None:
            count = 0
            with contextlib.suppress(OSError, ValueError):  # whoever reads the piece is told
                for _ in itertools.islice(read(piece), limit):
                    count += 1
        if count >= limit and whole != limit:
            piece = Piece(**{**piece, "lines": limit})
        yield piece, min(count, limit)
        limit -= count


def text_of(data: bytes, where: str) -> str:
    """UTF-8 bytes as str; ValueError names the byte (from 1) that is none. A byte order mark stays: U+FEFF."""
    if len(data) > MAX_DOCUMENT_BYTES:
        raise ValueError(f"{where}: longer than {MAX_DOCUMENT_BYTES} bytes, the most that a document may have")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}, byte {error.start + 1}: not UTF-8 ({error.reason})") from error


def object_of(text: str, where: str) -> dict[str, Any]:
    """The JSON object that `text` is; ValueError names the column (from 1) of what is wrong."""
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
    """record[key], a str of characters; ValueError otherwise."""
    if key not in record:
        raise ValueError(f"{where}: no key {key!r}; it has {[name[:40] for name in sorted(record)[:20]]}")
    value = record[key]
    if not isinstance(value, str):
        raise ValueError(f"{where}: {key!r} must be a string, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{where}: {key!r} holds half a surrogate pair at {error.start}, no character") from error
    return value


def id_of(record: dict[str, Any], key: str, where: str) -> str:
    """record[key], a string or a whole number, as an episode's id; ValueError otherwise."""
    value = record.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    text = string_of(record, key, where)
    if not text:
        raise ValueError(f"{where}: {key!r} is empty: an id needs at least one character")
    return text
