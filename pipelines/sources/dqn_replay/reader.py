"""ReplayReader: the arrays of an episode, wherever its rows lie, with the rows that only pad it left out."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.sources.dqn_replay.checkpoints import Checkpoint
from pipelines.sources.dqn_replay.row_stream import RowStream
from pipelines.sources.dqn_replay.timeline import NO_FILE, Timeline

PADDING = 3  # rows of zeros at most that Dopamine writes before an episode, so that its first stack of four is full
MOST_OPEN = 8  # files: two checkpoints of four arrays, between which an episode may lie


class Streams:
    """The files that are open, from one partition to the next: the next one mostly goes on in the same file."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, RowStream] = OrderedDict()

    def of(self, checkpoint: Checkpoint, array: str) -> RowStream:
        path = checkpoint.path(array)
        stream = self._open.setdefault(path, checkpoint.stream(array))
        self._open.move_to_end(path)
        while len(self._open) > MOST_OPEN:
            self._open.popitem(last=False)[1].close()
        return stream

    def close(self) -> None:
        for stream in self._open.values():
            stream.close()
        self._open.clear()

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]


class ReplayReader:
    """Reads rows of a run. shape: of a picture, uint8."""

    def __init__(self, timeline: Timeline, streams: Streams, shape: tuple[int, ...]) -> None:
        self._timeline, self._streams, self._shape = timeline, streams, shape

    def rows(self, array: str, start: int, stop: int) -> NDArray[Any]:
        """Return the rows [start, stop) of the timeline, of one array.

        Raises ValueError or OSError naming the file that is missing, damaged, or has another shape or dtype.
        """
        pieces = [self._piece(array, *piece) for piece in self._timeline.pieces(start, stop)]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def _piece(self, array: str, checkpoint: Checkpoint, first: int, stop: int, apart: bool) -> NDArray[Any]:
        path = checkpoint.path(array)
        if checkpoint.name(array) not in checkpoint.sizes:
            raise ValueError(f"{path} {NO_FILE}")
        # apart: the other stream stays where it is
        stream = checkpoint.stream(array) if apart else self._streams.of(checkpoint, array)
        try:
            self._check(array, path, stream)
            values = stream.read(first, stop)
        finally:
            if apart:
                stream.close()
        return values if array == "observation" else values.reshape(len(values))

    def _check(self, array: str, path: str, stream: RowStream) -> None:
        if array == "observation":
            fits, expected = stream.shape == self._shape and stream.dtype == np.uint8, f"uint8{list(self._shape)}"
        else:
            kinds = "iu" if array == "action" else "iuf"
            fits, expected = stream.shape in ((), (1,)) and stream.dtype.kind in kinds, "a number"
        if not fits:
            raise ValueError(f"{path}: expected {expected} in each row, got {stream.dtype}{list(stream.shape)}")


def padding_of(observations: NDArray[Any], actions: NDArray[Any], rewards: NDArray[Any]) -> int:
    """How many rows at the beginning are padding: nothing but zeros, at most PADDING.

    >>> rows = np.array([0, 0, 5, 0])
    >>> padding_of(rows[:, None], rows, rows)
    2
    """
    count = 0
    for row in _first(len(observations)):
        if observations[row].any() or actions[row] or rewards[row]:
            break
        count += 1
    return count


def _first(rows: int) -> Iterator[int]:
    yield from range(min(PADDING, rows))


def stacked(observations: NDArray[np.uint8], count: int) -> dict[str, NDArray[np.uint8]]:
    """The last `count` pictures at each timestep, as one array for each, the oldest first. Before the first timestep
    they are black, as DQN saw them.

    >>> {name: frames.ravel().tolist() for name, frames in stacked(np.array([[7], [8], [9]], np.uint8), 2).items()}
    {'0': [0, 7, 8], '1': [7, 8, 9]}
    """
    before = np.zeros((count - 1, *observations.shape[1:]), np.uint8)
    padded = np.concatenate([before, observations])
    digits = len(str(count - 1))
    return {f"{i:0{digits}d}": padded[i : i + len(observations)] for i in range(count)}
