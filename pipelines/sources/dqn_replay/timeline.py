"""Timeline: the rows of all checkpoints of a run in the order of time, and the episodes that they are divided into."""

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_tokenize.storage.address import RemoteError
from pipelines.sources.dqn_replay.checkpoints import ARRAYS, Checkpoint, Order, checkpoints, missing_numbers, new_rows
from pipelines.sources.formats.limits import check_field
from pipelines.sources.formats.places import Size, total

NO_FILE = "is not there"


@dataclasses.dataclass(frozen=True)
class Span:
    """The rows [row, row + stop - start) of a checkpoint, which are the rows [start, stop) of a timeline."""

    checkpoint: Checkpoint
    row: int
    start: int
    stop: int


@dataclasses.dataclass(frozen=True, eq=False)
class Timeline:
    """The rows of a run.

    starts, stops: int64[E], the rows of each episode. terminated: bool[E]. beheaded: bool[E], whether rows may be
    missing before the first one. unread: {number of a checkpoint: why no episode can be found in it}. gaps: numbers of
    checkpoints that are not there. untold: whether nothing tells the order of the rows of some checkpoint. digest: what
    planning read, for the plan.
    """

    folder: str
    found: tuple[Checkpoint, ...]
    spans: tuple[Span, ...]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    terminated: NDArray[np.bool_]
    beheaded: NDArray[np.bool_]
    unread: dict[int, str]
    gaps: list[str]
    untold: bool
    digest: str

    def pieces(self, start: int, stop: int) -> Iterator[tuple[Checkpoint, int, int, bool]]:
        """Yield (checkpoint, first row, last row + 1, whether it is the last row of a ring, which comes before the
        others) of what the rows [start, stop) of the timeline lie in."""
        for span in self.spans:
            first, last = max(start, span.start), min(stop, span.stop)
            if first < last:
                apart = span.row > 0 and span.stop - span.start == 1
                yield span.checkpoint, span.row + first - span.start, span.row + last - span.start, apart

    @property
    def size(self) -> Size:
        """The bytes of all files."""
        return total(size for _, size in self.files() if size is not None)

    def files(self) -> Iterator[tuple[str, Size | None]]:
        """Yield (name, bytes, None if it is missing) of every file."""
        for one in self.found:
            for array in (*ARRAYS, "add_count"):
                size = one.sizes.get(one.name(array))
                if size is not None or array != "add_count":
                    yield one.path(array), size


def read_timeline(folder: str, order: Order) -> Timeline:
    """Find the episodes of a run: of each checkpoint, `terminal` and `add_count` are read."""
    found = checkpoints(folder)
    spans: list[Span] = []
    ends: list[NDArray[np.int64]] = []  # rows after which an episode ends, because it was terminated
    breaks: list[int] = []  # rows before which rows are missing, or may be
    unread: dict[int, str] = {}
    digest = hashlib.sha256()
    before, place, untold = None, 0, False
    for one in found:
        try:
            terminal, added = _terminal(one), one.add_count() if order != "rows" else None
        except RemoteError:
            raise
        except (ValueError, OSError) as error:
            unread[one.number] = str(error)
            continue
        untold = untold or (added is None and order == "auto")
        digest.update(terminal.tobytes() + f"{added}".encode())
        new = new_rows(len(terminal), one.number, added, before, order)
        if not new.joined:
            breaks.append(place)
        for start, stop in new.ranges:
            spans.append(Span(one, start, place, place + stop - start))
            ends.append(np.flatnonzero(terminal[start:stop]) + place + 1)
            place += stop - start
        before = one.number, new.count
    terminals = np.concatenate(ends) if ends else np.zeros(0, np.int64)
    borders = np.asarray(breaks, np.int64)
    stops = np.union1d(np.union1d(terminals, borders), [place]).astype(np.int64)
    stops = stops[stops > 0]
    starts = np.concatenate([[0], stops[:-1]]).astype(np.int64)[: len(stops)]
    terminated, beheaded = np.isin(stops, terminals), np.isin(starts, borders)
    gaps = missing_numbers(found)
    return Timeline(
        folder,
        tuple(found),
        tuple(spans),
        starts,
        stops,
        terminated,
        beheaded,
        unread,
        gaps,
        untold,
        digest.hexdigest(),
    )


def _terminal(one: Checkpoint) -> NDArray[np.bool_]:
    """bool[N]: whether an episode ends with each row."""
    path = one.path("terminal")
    if one.name("terminal") not in one.sizes:
        raise ValueError(f"{path} {NO_FILE}")
    stream = one.stream("terminal")
    try:
        check_field(path, f"{stream.rows} rows", stream.rows * stream.dtype.itemsize)
        values: Any = stream.read(0, stream.rows)
        if values.shape[1:] not in ((), (1,)) or values.dtype.kind not in "biuf" or not len(values):
            raise ValueError(f"{path}: expected a flag a row, got {values.dtype}{list(values.shape)}")
        return np.asarray(values.reshape(-1) != 0)
    finally:
        stream.close()
