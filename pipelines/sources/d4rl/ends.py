"""Where the episodes of flat arrays end, and how."""

import dataclasses
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipelines.sources.errors import SourceError

UNSTATED = -1  # the option length= was not given


@dataclasses.dataclass(frozen=True, eq=False)
class Ends:
    """stops: int64[E], the row after the last one of each episode. terminated, truncated: bool[E]. cut: whether the
    last one has no mark of its end.

    >>> found = find_ends(6, np.array([0, 1, 0, 0, 0, 0], bool), None, length=3)
    >>> found.stops, found.terminated, found.truncated, found.cut
    (array([2, 5, 6]), array([ True, False, False]), array([False,  True,  True]), True)
    """

    stops: NDArray[np.int64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    cut: bool

    @property
    def starts(self) -> NDArray[np.int64]:
        return np.concatenate([self.stops[:1] * 0, self.stops[:-1]])


Flag: TypeAlias = "NDArray[np.bool_] | None"  # bool[N]; None if a file has no such array


def find_ends(rows: int, terminals: Flag, timeouts: Flag, length: int) -> Ends:
    """Find where the episodes of so many rows end: after a terminal, after a timeout, after `length` timesteps if it is
    above 0, and at the last row."""
    never = np.zeros(rows, bool)
    terminals, timeouts = (never if flag is None else flag for flag in (terminals, timeouts))
    stops = np.flatnonzero(terminals | timeouts) + 1
    if rows and not (len(stops) and stops[-1] == rows):
        stops = np.append(stops, rows)
    if length > 0:
        stops = _divided(stops, length)
    last = stops - 1
    terminated = terminals[last]
    marked = terminated | timeouts[last]
    full = np.diff(stops, prepend=0) == length
    return Ends(stops, terminated, timeouts[last] | ~marked, bool(rows and not (marked[-1] or full[-1])))


def _divided(stops: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Divide episodes that are longer than `length`.

    >>> _divided(np.array([2, 9]), 3)
    array([2, 5, 8, 9])
    """
    starts = np.concatenate([[0], stops[:-1]])
    parts = -(-(stops - starts) // length)
    number = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts) + 1
    return np.asarray(np.minimum(np.repeat(starts, parts) + number * length, np.repeat(stops, parts)))


def check_length(uri: str, terminals: Flag, timeouts: Flag, length: int) -> None:
    """Raise SourceError if the flags do not tell where episodes end, and `length` does not either."""
    marked = any(flag is not None and flag.any() for flag in (terminals, timeouts))
    if not marked and length <= 0:
        raise SourceError(
            f"{uri}: neither terminals nor timeouts are ever set, so nothing tells where an episode ends: give the"
            " number of timesteps of an episode by length=N"
        )
    if timeouts is None and length == UNSTATED:
        raise SourceError(
            f"{uri}: has no timeouts, so nothing tells where an episode ends that was not terminated: give the most"
            " timesteps of an episode by length=N, such as 1000 for MuJoCo's locomotion, or length=0 if each episode"
            " was terminated"
        )
