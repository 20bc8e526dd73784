"""Pieces: where a file is cut, and which pieces share a partition. A partition becomes one shard of each split.

A partition aims at `Source.shard_bytes`. It holds less where the source has less than HANDFUL times as much: then there
are up to HANDFUL partitions, so that a few workers have work, but none of less than PIECE_BYTES.
"""

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gato_tokenize import EpisodeSpec, ImageSpec, TextSpec
from gato_tokenize.modalities.image import target_size

SHARD_BYTES = 100 * 2**20
PIECE_BYTES = 4 * 2**20
HANDFUL = 8
RECORD_BYTES = 100  # of a record, about, beside its tokens and pictures, which are about as large as their data


class Mark(NamedTuple):
    """A place where a file may be cut."""

    byte: int = 0  # of the file's content
    number: int = 0  # lines or samples before it
    weight: int = 0  # bytes of a shard, about, that come of what is before it


class Piece(NamedTuple):
    """A file or a part of one, which `Source.candidates` reads as a whole."""

    content: Any  # the JSON that names it
    weight: int  # bytes of a shard, about, that come of it
    apart: str = ""  # the archive or compressed file whose pieces share a partition with no others: damage would end it


def spans(marks: Iterable[Mark]) -> list[tuple[Mark, Mark]]:
    """(start, stop) of the pieces of a file that begins at `Mark()` and ends at the last of `marks`.

    A piece ends at the first mark at which it weighs at least PIECE_BYTES.

    >>> spans([Mark(10, 1, PIECE_BYTES - 1), Mark(20, 2, PIECE_BYTES), Mark(30, 3, PIECE_BYTES + 9)])
    [(Mark(byte=0, number=0, weight=0), Mark(byte=20, number=2, weight=4194304)), \
(Mark(byte=20, number=2, weight=4194304), Mark(byte=30, number=3, weight=4194313))]
    """
    borders = [mark := Mark()]
    for mark in marks:
        if mark.weight - borders[-1].weight >= PIECE_BYTES:
            borders.append(mark)
    if mark != borders[-1]:
        borders.append(mark)
    return list(itertools.pairwise(borders))


def partition_bytes(total: int, shard_bytes: int) -> int:
    """The weight at which a partition of a source that weighs `total` aims.

    >>> [partition_bytes(size * 2**20, SHARD_BYTES) // 2**20 for size in (1, 40, 400, 4000)]
    [4, 5, 50, 100]
    """
    return min(shard_bytes, max(PIECE_BYTES, -(-total // HANDFUL)))


def _apart(one: Any, two: Any) -> None:
    """Join no pieces."""


def pack(
    pieces: Iterable[Piece], shard_bytes: int = SHARD_BYTES, join: Callable[[Any, Any], Any] = _apart
) -> list[list[Any]]:
    """The contents of the pieces, in order, in groups of about `partition_bytes`: a piece that would exceed that by
    more than half of itself begins another group, and those of a file that stands apart share none with others.

    join: makes one content of two that follow each other in a group, or None if they do not in a file: a plan stays
    short.

    >>> pack([Piece("a", 1), Piece("b", PIECE_BYTES), Piece("c.gz", 1, "c.gz"), Piece("d", 1)])
    [['a', 'b'], ['c.gz'], ['d']]
    >>> pack([Piece("a", 1), Piece("b", PIECE_BYTES - 1), Piece("c", 1)])
    [['a', 'b'], ['c']]
    """
    pieces = list(pieces)
    most = partition_bytes(sum(piece.weight for piece in pieces), shard_bytes)
    groups: list[list[Any]] = []
    free, before = -1, ""  # in the last group
    for content, weight, apart in pieces:
        if weight > 2 * free or apart != before:
            groups.append([])
            free = most
        joined = join(groups[-1][-1], content) if groups[-1] else None
        groups[-1][-1:] = [joined] if joined else [*groups[-1][-1:], content]
        free, before = free - weight, apart
    return groups


def ranges(count: int, each: int) -> list[tuple[int, int]]:
    """[first, stop) of `count` numbered episodes, `each` at a time.

    >>> ranges(5, 2)
    [(0, 2), (2, 4), (4, 5)]
    """
    return [(first, min(first + each, count)) for first in range(0, count, each)]


def runs(weights: NDArray[np.int64], most: int) -> list[tuple[int, int]]:
    """[first, stop) of numbered episodes of these weights, about `most` at a time.

    >>> runs(np.array([2, 2, 1, 3, 1]), 4)
    [(0, 2), (2, 4), (4, 5)]
    """
    group = (np.cumsum(weights) - weights) // most
    firsts = np.flatnonzero(np.diff(group, prepend=-1)).tolist()
    return list(zip(firsts, [*firsts[1:], len(weights)], strict=True))


def samples_per_partition(count: int, weight: int, shard_bytes: int) -> int:
    """How many of `count` samples, which weigh `weight` together, make a partition: at least 1."""
    return max(1, partition_bytes(weight, shard_bytes) * count // max(1, weight))


def step_bytes(spec: EpisodeSpec) -> int:
    """The bytes of a shard, about, that a timestep makes: the pixels of pictures of a known size, a token a number.

    >>> from gato_tokenize import ContinuousSpec, ImageSpec
    >>> step_bytes(EpisodeSpec({"eye": ImageSpec((84, 84, 3)), "arm": ContinuousSpec(7)}, ContinuousSpec(2)))
    19236
    """
    total = 0
    for field in spec.fields.values():
        if isinstance(field, ImageSpec):
            height, width = field.resize or target_size(*(field.shape or (16, 16))[:2])
            total += 3 * height * width
        elif not isinstance(field, TextSpec):
            total += 4 * math.prod(field.shape)
    return total
