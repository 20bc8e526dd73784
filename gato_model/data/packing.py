"""Pack windows into rows of fixed length: the arrays of a batch."""

import itertools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gato_model.data.windows import UnreadPatches, Window
from gato_tokenize.sequence import NO_POSITION, local_positions
from gato_tokenize.vocabulary import Kind


class Placed(NamedTuple):
    """A window and the row in which it follows the windows placed before it."""

    row: int
    segment: int  # from 1; a prompt has the segment of the sequence after it
    window: Window
    apart: bool = False  # each timestep becomes a segment of its own


def round_up(count: int) -> int:
    """Find the smallest 2^k or 3 * 2^(k - 1) that is at least `count` and 16, so that a compiled step sees few shapes.

    >>> [round_up(n) for n in (0, 16, 17, 25, 33, 1000)]
    [16, 16, 24, 32, 48, 1024]
    """
    size = 16
    while size < count:
        size = size * 3 // 2 if size & (size - 1) == 0 else size // 3 * 4
    return size


def pack(placed: list[Placed], rows: int, length: int, quantization: int) -> dict[str, NDArray[Any]]:
    """Pack windows into `rows` rows of `length` tokens: all arrays of `BATCH_FIELDS` except `dataset`.

    The pixels of `UnreadPatches` are left to be filled: `patch_places` says where they belong.

    placed: in the order of rows, 0 to rows - 1, and within a row in the order of tokens; the windows of a row have at
        most `length` tokens together
    quantization: the number of positions along a picture's side (appendix C.3), the unit of `patch_intervals`

    Raises IndexError if the windows run past the last row.
    """
    windows = [item.window for item in placed]
    lengths = np.array([len(window) for window in windows], np.int64)
    row = np.array([item.row for item in placed], np.int64)
    before = np.cumsum(lengths) - lengths
    first_of_row = np.searchsorted(row, row)  # index of the row's first window
    starts = row * length + before - before[first_of_row] if len(row) else before
    places = np.repeat(starts - before, lengths) + np.arange(lengths.sum())  # flat place of each token
    tokens = _joined([window.ids for window in windows], np.int32)
    kinds = _joined([window.kinds for window in windows], np.uint8)
    loss_mask = _joined([window.loss_mask for window in windows], np.uint8)
    ends = _joined([window.step_splits[1:] for window in windows], np.int64)
    ends += np.repeat(before, [len(window.step_splits) - 1 for window in windows])
    splits = np.concatenate([np.zeros(1, np.int64), ends])
    segments = _segments(placed)
    size = rows * length
    batch: dict[str, NDArray[Any]] = {
        "tokens": _scattered(places, tokens, size, 0),
        "kinds": _scattered(places, kinds, size, 0),
        "local_positions": _scattered(places, local_positions(kinds, splits), size, NO_POSITION),
        "segments": _scattered(places, segments, size, 0),
    }
    batch |= _targets(batch["tokens"], batch["segments"], _scattered(places, loss_mask, size, 0), length)
    flat = {name: array.reshape(rows, length) if len(array) == size else array for name, array in batch.items()}
    flat["target_index"] = _index(np.flatnonzero(batch["target_mask"]), size)
    return flat | _patches(windows, places[kinds == Kind.PATCH], size, quantization)


def _segments(placed: list[Placed]) -> NDArray[np.int32]:
    """Number the segment of each token, int32[tokens], different within a row for what does not see one another."""
    free: dict[int, int] = {}  # the first number of each row that no segment has
    for item in placed:
        free[item.row] = max(free.get(item.row, 1), item.segment + 1)
    numbers = [np.zeros(0, np.int32)]
    for item in placed:
        splits = item.window.step_splits
        if item.apart:
            own = np.arange(free[item.row], free[item.row] + len(splits) - 1, dtype=np.int32)
            free[item.row] += len(own)
            numbers.append(np.repeat(own, np.diff(splits)))
        else:
            numbers.append(np.full(len(item.window), item.segment, np.int32))
    return np.concatenate(numbers)


def patch_places(placed: list[Placed]) -> list[int]:
    """Return the index in `patches` of the first patch of each window, as `pack` puts them."""
    return [0, *itertools.accumulate(len(item.window.patches) for item in placed)][:-1]


def _targets(
    tokens: NDArray[np.int32], segments: NDArray[np.int32], loss_mask: NDArray[np.uint8], length: int
) -> dict[str, NDArray[Any]]:
    """Find the next token, if it is in the same row and segment and in the loss (paper equation 2)."""
    mask = np.zeros_like(loss_mask)
    mask[:-1] = loss_mask[1:] & (segments[1:] == segments[:-1]) & (segments[:-1] != 0)
    mask[length - 1 :: length] = 0  # a row's last place
    targets = np.zeros_like(tokens)
    targets[:-1] = tokens[1:] * mask[:-1]
    return {"targets": targets, "target_mask": mask}


def _patches(windows: list[Window], places: NDArray[np.int64], size: int, quantization: int) -> dict[str, NDArray[Any]]:
    count = round_up(len(places))
    pixels, intervals = np.empty((count, 16, 16, 3), np.uint8), np.empty((count, 4), np.int32)
    at = 0
    for window in windows:
        if n := len(window.patches):
            if not isinstance(window.patches, UnreadPatches):
                pixels[at : at + n] = window.patches
            intervals[at : at + n] = window.patch_intervals(quantization)
            at += n
    pixels[at:], intervals[at:] = 0, (0, 1, 0, 1)
    return {"patches": pixels, "patch_index": _index(places, size), "patch_intervals": intervals}


def _joined(arrays: list[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype), *arrays])


def _scattered(places: NDArray[np.int64], values: NDArray[Any], size: int, empty: int) -> NDArray[Any]:
    out = np.full(size, empty, values.dtype)
    out[places] = values
    return out


def _index(places: NDArray[np.int64], size: int) -> NDArray[np.int32]:
    """Pad with `size`, which is out of range, to a rounded length: int32[round_up(n)]."""
    out = np.full(round_up(len(places)), size, np.int32)
    out[: len(places)] = places
    return out
