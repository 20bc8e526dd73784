"""Window: a stored sequence, or a part of one cut at timesteps (Reed et al. 2022, section 2.3)."""

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray

from gato_tokenize.modalities.image import intervals
from gato_tokenize.vocabulary import Kind

PATCH_BYTES = 16 * 16 * 3


@dataclasses.dataclass(frozen=True)
class UnreadPatches:
    """Patches `first` to `stop` (exclusive) of a record, which are read later, straight into a batch."""

    first: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.first


@dataclasses.dataclass(frozen=True, eq=False)
class Window:
    """n tokens in whole timesteps (of a document: any tokens), p of them patches of m images."""

    ids: NDArray[np.int32]  # [n]
    kinds: NDArray[np.uint8]  # [n], `Kind`
    loss_mask: NDArray[np.uint8]  # [n], 0 or 1
    step_splits: NDArray[np.int64]  # [t + 1] from 0 to n
    patches: "NDArray[np.uint8] | UnreadPatches"  # [p, 16, 16, 3]
    grids: NDArray[np.int32]  # [m, 2], rows and columns of patches of each image, whole images
    first_patch: int = 0  # index of the first of `patches` among all patches of the m images

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        arrays = (self.ids, self.kinds, self.loss_mask, self.step_splits, self.grids)
        return sum(array.nbytes for array in arrays) + PATCH_BYTES * len(self.patches)

    def patch_intervals(self, quantization: int) -> NDArray[np.int32]:
        """Compute int32[p, 4]: row low, row high, column low, column high of each patch (appendix C.3)."""
        whole = [_grid_intervals(rows, columns, quantization) for rows, columns in self.grids.tolist()]
        if not whole:
            return np.zeros((0, 4), np.int32)
        return np.concatenate(whole)[self.first_patch : self.first_patch + len(self.patches)]

    def slice(self, start: int, stop: int) -> "Window":
        """Copy tokens start to stop (exclusive) of a whole sequence, so that the sequence itself can be freed."""
        if (start, stop) == (0, len(self)):
            return self
        splits = self.step_splits
        inside = splits[splits.searchsorted(start, side="right") : splits.searchsorted(stop)] - start
        patches, grids, first = self.patches, self.grids, 0
        if len(patches):
            before = int(np.count_nonzero(self.kinds[:start] == Kind.PATCH))
            within = int(np.count_nonzero(self.kinds[start:stop] == Kind.PATCH))
            ends = np.cumsum(grids.astype(np.int64).prod(axis=1))
            image = int(ends.searchsorted(before, side="right"))
            last = int(ends.searchsorted(before + within, side="left"))
            first = before - int(ends[image - 1]) if image else before
            patches, grids = _part(patches, before, before + within), grids[image : last + 1].copy()
        return Window(
            self.ids[start:stop].copy(),
            self.kinds[start:stop].copy(),
            self.loss_mask[start:stop].copy(),
            np.concatenate([[0], inside, [stop - start]]),
            patches,
            grids,
            first,
        )


def _part(patches: "NDArray[np.uint8] | UnreadPatches", start: int, stop: int) -> "NDArray[np.uint8] | UnreadPatches":
    if isinstance(patches, UnreadPatches):
        return UnreadPatches(patches.first + start, patches.first + stop)
    return patches[start:stop].copy()


@functools.lru_cache(maxsize=256)
def _grid_intervals(rows: int, columns: int, quantization: int) -> NDArray[np.int32]:
    """Compute int32[rows * columns, 4] for one image's patches in raster order."""
    down, across = intervals(rows, quantization), intervals(columns, quantization)
    return np.concatenate([np.repeat(down, columns, axis=0), np.tile(across, (rows, 1))], axis=1)


def window_at(step_splits: NDArray[np.int64], room: int, place: float, any_token: bool = False) -> tuple[int, int]:
    """Find (start, stop) in tokens of a window of at most `room` tokens, cut at timesteps unless `any_token`.

    place: 0 is the start of the sequence, 1 its end. If it is drawn uniformly from [0, 1), every token is about equally
    likely to be in the window: a window may begin up to its own length before the start, or end as far after the end,
    and is then moved inside. A sequence that fits is taken whole. If no timestep fits, start == stop.

    >>> splits = np.array([0, 4, 8, 12, 16])
    >>> window_at(splits, 9, 0.0), window_at(splits, 9, 1.0), window_at(splits, 9, 0.6), window_at(splits, 3, 0.5)
    ((0, 8), (8, 16), (4, 12), (0, 0))
    """
    length = int(step_splits[-1])
    if length <= room:
        return 0, length
    start = min(max(int(place * (length + room - 1)) - room + 1, 0), length - room)
    if any_token:
        return start, start + room
    if start == length - room:
        first, last = int(step_splits.searchsorted(start)), len(step_splits) - 1
    else:
        first = int(step_splits.searchsorted(start, side="right")) - 1
        last = int(step_splits.searchsorted(step_splits[first] + room, side="right")) - 1
    if first >= last:  # the timestep there is too long: take the next one that fits
        fits = np.flatnonzero(np.diff(step_splits) <= room)
        if not fits.size:
            return 0, 0
        first = int(fits[fits.searchsorted(first) % fits.size])
        last = int(step_splits.searchsorted(step_splits[first] + room, side="right")) - 1
    return int(step_splits[first]), int(step_splits[last])
