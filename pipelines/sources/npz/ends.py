"""Ends: where the episodes end of arrays in which several follow each other."""

import dataclasses
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

ENDS = "episode_ends"  # the row after the last of each episode, as in the replay buffers of diffusion policy
LENGTHS = ("episode_lengths", "traj_lengths")  # as DPPO writes them
STARTS = "episode_starts"  # a flag at the first row of each episode, as Stable Baselines writes it
NAMES = (ENDS, *LENGTHS, STARTS)


@dataclasses.dataclass(frozen=True, eq=False)
class Ends:
    """stops: int64[E], the row after the last one of each episode. cut: whether the last one has no mark of its end."""

    stops: NDArray[np.int64]
    cut: bool = False

    @property
    def starts(self) -> NDArray[np.int64]:
        return np.concatenate([self.stops[:1] * 0, self.stops[:-1]])


def ends_name(names: Iterable[str], chosen: str) -> str:
    """The array that says where episodes end: the `chosen` one, or one of the known names; "" if there is none."""
    return chosen or next((name for name in NAMES if name in set(names)), "")


def find_ends(values: NDArray[np.generic], name: str, rows: int) -> Ends:
    """Find where the episodes of so many rows end.

    values: [rows] flags, each set at the last row of an episode, or at its first if `name` ends in "starts"; or [E]
    whole numbers: lengths, which sum to `rows`, or the rows after the last ones.

    >>> find_ends(np.array([2, 3, 7]), "episode_ends", 7).stops, find_ends(np.array([2, 1, 4]), "n", 7).stops
    (array([2, 3, 7]), array([2, 3, 7]))
    >>> find_ends(np.array([1, 0, 1, 0], bool), "episode_starts", 4).stops
    array([2, 4])
    >>> found = find_ends(np.array([0, 1, 0, 0], bool), "terminals", 4)
    >>> found.stops, found.cut
    (array([2, 4]), True)

    Raises ValueError if they are none of these.
    """
    flat = values.reshape(-1) if values.shape[1:] in ((), (1,)) else values
    if flat.ndim != 1 or flat.dtype.kind not in "iufb":
        raise ValueError(f"{name}: expected whole numbers or flags, got {values.dtype}{list(values.shape)}")
    if not flat.size:
        raise ValueError(f"{name} is empty: there is no episode")
    flags = len(flat) == rows and bool(np.isin(flat, (0, 1)).all())
    if flags and name not in (ENDS, *LENGTHS):
        return _by_flags(flat.astype(bool), name.endswith("starts"))
    if (flat != np.floor(flat)).any():
        raise ValueError(f"{name}: expected whole numbers or flags, got {flat[flat != np.floor(flat)][0]}")
    numbers = flat.astype(np.int64)
    if name in LENGTHS or (name != ENDS and int(numbers.sum()) == rows):
        numbers = np.cumsum(numbers)
    elif name != ENDS and int(numbers[-1]) != rows:
        raise ValueError(
            f"{name} holds neither the lengths of episodes, whose sum would be {rows}, nor the rows after their last"
            f" ones, of which the last would be {rows}"
        )
    if (np.diff(numbers, prepend=0) < 0).any():
        number = int(np.flatnonzero(np.diff(numbers, prepend=0) < 0)[0])
        raise ValueError(f"{name}: episode {number} would end at row {numbers[number]}, before it begins")
    return Ends(numbers)


def _by_flags(flags: NDArray[np.bool_], first: bool) -> Ends:
    rows = len(flags)
    stops = np.flatnonzero(flags[1:] if first else flags) + 1
    cut = not first and not flags[-1]
    return Ends(np.append(stops, rows) if first or cut else stops, cut)
