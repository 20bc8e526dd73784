"""Pieces: where a file is cut, and which pieces share a partition. A partition becomes one shard of each split."""

import itertools
from collections.abc import Iterable
from typing import Any, NamedTuple

# The most that a partition holds. A shard is about as large as the data it is made from, so about 100 MB.
PIECE_BYTES = 64 * 2**20
MAX_LINES = 100_000
MAX_SAMPLES = 5_000  # pictures, recorded episodes or whole files


class Mark(NamedTuple):
    """A place where a file may be cut."""

    byte: int = 0  # of the file's content
    number: int = 0  # lines or samples before it
    weight: int = 0  # bytes of data before it: in the file itself, or in the files that it names


class Piece(NamedTuple):
    """A file or a part of one, which `Source.candidates` reads as a whole."""

    content: Any  # the JSON that names it
    bytes: int
    candidates: int | None  # in it; None: unknown until it is read


def spans(marks: Iterable[Mark], most: int) -> list[tuple[Mark, Mark]]:
    """(start, stop) of the pieces of a file that begins at `Mark()` and ends at the last of `marks`.

    A piece ends at the first mark at which it holds at least PIECE_BYTES, or at least `most` lines or samples.

    >>> spans([Mark(10, 1, 10), Mark(20, 2, 20), Mark(30, 3, 30)], most=2)
    [(Mark(byte=0, number=0, weight=0), Mark(byte=20, number=2, weight=20)), \
(Mark(byte=20, number=2, weight=20), Mark(byte=30, number=3, weight=30))]
    """
    borders = [mark := Mark()]
    for mark in marks:
        if mark.weight - borders[-1].weight >= PIECE_BYTES or mark.number - borders[-1].number >= most:
            borders.append(mark)
    if mark != borders[-1]:
        borders.append(mark)
    return list(itertools.pairwise(borders))


def pack(pieces: Iterable[Piece]) -> list[list[Any]]:
    """The contents of the pieces, in order, in groups of at most PIECE_BYTES, MAX_LINES candidates and MAX_SAMPLES
    pieces; a larger piece is a group of its own, and so is one whose count is unknown.

    >>> pack([Piece("a", 1, 1), Piece("b", PIECE_BYTES, 1), Piece("c.gz", 1, None), Piece("d", 1, 1), Piece("e", 1, 1)])
    [['a'], ['b'], ['c.gz'], ['d', 'e']]
    """
    groups: list[list[Any]] = []
    free_bytes = free_count = -1  # in the last group
    for content, size, count in pieces:
        if count is None or size > free_bytes or count > free_count or len(groups[-1]) >= MAX_SAMPLES:
            groups.append([])
            free_bytes, free_count = PIECE_BYTES, MAX_LINES
        groups[-1].append(content)
        free_bytes = -1 if count is None else free_bytes - size
        free_count -= count or 0
    return groups


def ranges(count: int, each: int) -> list[tuple[int, int]]:
    """[first, stop) of `count` numbered episodes, `each` at a time.

    >>> ranges(5, 2)
    [(0, 2), (2, 4), (4, 5)]
    """
    return [(first, min(first + each, count)) for first in range(0, count, each)]


def samples_per_piece(count: int, weight: int) -> int:
    """How many of `count` samples, which have `weight` bytes together, make a piece: at least 1."""
    return max(1, min(MAX_SAMPLES, PIECE_BYTES * count // max(1, weight)))
