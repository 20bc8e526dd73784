"""The messages of an Arrow file or stream, found by their headers alone, as Arrow's "Columnar format" describes
them."""

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

FILE_START = b"ARROW1\0\0"  # of a file, in which a stream and a footer follow
STREAM_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"  # of every Arrow stream whose writer was closed
BATCH = 3  # the kind of a message that is a record batch
MOST_HEADER = 2**26  # bytes
MOST_ROWS = 8  # of a byte: a stream that states more is damaged, or so well compressed that it must be read to be known


class Message(NamedTuple):
    """A message in the bytes [start, stop). kind: 1 a schema, 2 a dictionary, or BATCH, of so many rows."""

    kind: int
    start: int
    stop: int
    rows: int


def messages_of(file: BinaryIO, size: int) -> Iterator[Message]:
    """Yield the messages of a file or stream of so many bytes, in order; what they hold is not read.

    Raises ValueError where it is cut or damaged, after the messages before that place.
    """
    file.seek(0)
    is_file = file.read(len(FILE_START)) == FILE_START
    place = len(FILE_START) if is_file else 0
    while True:
        file.seek(place)
        mark = file.read(len(STREAM_END))
        if mark == STREAM_END and (is_file or place + len(mark) == size):
            return
        if len(mark) < len(STREAM_END) or mark[:4] != STREAM_END[:4] or mark == STREAM_END:
            raise ValueError(f"no message begins at byte {place}, nor is the mark there that ends a stream")
        length = int.from_bytes(mark[4:], "little")
        start = place + len(mark)
        if length > min(MOST_HEADER, size - start):
            raise ValueError(f"the header at byte {start} states {length} bytes")
        try:
            kind, rows, body = _described(file.read(length))
        except (struct.error, IndexError) as error:
            raise ValueError(f"the header at byte {start} is damaged: {error}") from error
        stop = start + length + body
        if not start <= stop <= size:
            raise ValueError(f"the message at byte {place} would end at byte {stop}")
        if not 0 <= rows <= MOST_ROWS * body:
            raise ValueError(f"the message at byte {place} states {rows} rows in {body} bytes: copy it to a local disk")
        yield Message(kind, place, stop, rows)
        place = stop


def _described(header: bytes) -> tuple[int, int, int]:
    """(kind, rows of a record batch, bytes of the body) of a message, from its table in the format of FlatBuffers."""
    message = _number(header, 0, "I")
    kind_at, body_at = _member(header, message, 1), _member(header, message, 3)
    kind = header[kind_at] if kind_at else 0
    body = _number(header, body_at, "q") if body_at else 0
    if kind != BATCH:
        return kind, 0, body
    content = _member(header, message, 2)
    rows_at = _member(header, content + _number(header, content, "I"), 0)
    return kind, _number(header, rows_at, "q") if rows_at else 0, body


def _member(data: bytes, table: int, number: int) -> int:
    """The place of a member of a table; 0 if it is not stored."""
    list_at = table - _number(data, table, "i")
    at = 4 + 2 * number
    offset = _number(data, list_at + at, "H") if at < _number(data, list_at, "H") else 0
    return table + offset if offset else 0


def _number(data: bytes, place: int, form: str) -> int:
    if place < 0:
        raise IndexError(f"byte {place}")
    found: int = struct.unpack_from(f"<{form}", data, place)[0]
    return found
