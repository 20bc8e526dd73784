"""TokenSequence: the tokens of an episode, a document or a part of one, as parallel arrays."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_tokenize.arrays import check_unmasked
from gato_tokenize.output import counted
from gato_tokenize.vocabulary import Kind

NO_POSITION = -1  # the separator, and all tokens outside agent timesteps
ACTION_POSITION = -2  # every action token: the one learned row that they share (paper appendix C.3)
_PATCH, _SEPARATOR = int(Kind.PATCH), int(Kind.SEPARATOR)  # numpy compares with an enum seven times as slowly

_NO_PATCHES, _NO_GRIDS = np.zeros((0, 16, 16, 3), np.uint8), np.zeros((0, 2), np.int32)


@dataclasses.dataclass(frozen=True, eq=False)
class TokenSequence:
    """L tokens in T timesteps (a document or sample is one).

    ids            int32[L]             0 at an image patch
    kinds          uint8[L]             `Kind`
    loss_mask      uint8[L]             1: the model is trained to predict this token (paper equation 2)
    step_splits    int64[T + 1]         tokens of timestep t: step_splits[t] to step_splits[t + 1]; after the last
                                        split comes padding
    patches        uint8[n, 16, 16, 3]  pixels of the n patch tokens, in token order
    grids          int32[m, 2]          rows and columns of the m images, in token order
    encoded        m byte strings       the images' own JPEG or PNG files if these decode to `patches`; else empty

    Raises ValueError if the arrays contradict each other.
    """

    ids: NDArray[np.int32]
    kinds: NDArray[np.uint8]
    loss_mask: NDArray[np.uint8]
    step_splits: NDArray[np.int64]
    patches: NDArray[np.uint8]
    grids: NDArray[np.int32]
    encoded: tuple[bytes, ...] = ()

    def __repr__(self) -> str:
        counts = (len(self), "token"), (self.num_steps, "timestep"), (len(self.grids), "image")
        return f"<TokenSequence of {', '.join(counted(count, noun) for count, noun in counts)}>"

    def __post_init__(self) -> None:
        for name in ("ids", "kinds", "loss_mask", "step_splits", "patches", "grids"):
            if type(value := getattr(self, name)) is not np.ndarray:
                check_unmasked(value, name)
        length, splits = len(self.ids), self.step_splits
        if not (self.ids.shape == self.kinds.shape == self.loss_mask.shape == (length,)):
            shapes = [list(a.shape) for a in (self.ids, self.kinds, self.loss_mask)]
            raise ValueError(f"ids, kinds and loss_mask must have one shape, got {shapes}")
        if (
            splits.ndim != 1
            or not len(splits)
            or splits[0] != 0
            or (splits[1:] < splits[:-1]).any()
            or splits[-1] > length
        ):
            raise ValueError(f"step_splits must rise from 0 to at most {length}, got {splits}")
        patches = int(np.count_nonzero(self.kinds == _PATCH))
        if self.patches.shape != (patches, 16, 16, 3):
            raise ValueError(f"{patches} patch tokens, but patches of shape {list(self.patches.shape)}")
        in_images = int(self.patches_per_image.sum()) if self.grids.shape[1:] == (2,) and len(self.grids) else 0
        if self.grids.shape[1:] != (2,) or in_images != patches:
            raise ValueError(f"{patches} patch tokens, but image grids {self.grids.tolist()}")
        if len(self.encoded) not in (0, len(self.grids)):
            raise ValueError(f"{len(self.grids)} images, but {len(self.encoded)} encoded ones")

    @staticmethod
    def document(ids: NDArray[np.int32], loss: bool = True) -> "TokenSequence":
        """The sequence of a document whose text has these ids, int32[L]."""
        kinds, loss_mask = np.zeros(len(ids), np.uint8), np.full(len(ids), loss, np.uint8)
        return TokenSequence(ids, kinds, loss_mask, np.array([0, len(ids)], np.int64), _NO_PATCHES, _NO_GRIDS)

    def __len__(self) -> int:
        return len(self.ids)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TokenSequence):
            return NotImplemented
        names = ("ids", "kinds", "loss_mask", "step_splits", "patches", "grids")
        return self.encoded == other.encoded and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in names
        )

    @property
    def num_steps(self) -> int:
        return len(self.step_splits) - 1

    @property
    def patches_per_image(self) -> NDArray[np.int64]:
        return np.asarray(self.grids.astype(np.int64).prod(axis=1))

    @property
    def local_positions(self) -> NDArray[np.int32]:
        """int32[L]: a token's index among its timestep's observation tokens (paper section 2.2, appendix C.3),
        NO_POSITION at the separator, at padding and outside agent timesteps, ACTION_POSITION at action tokens."""
        return local_positions(self.kinds, self.step_splits)

    def steps(self, start: int, stop: int) -> "TokenSequence":
        """Return timesteps start to stop (exclusive), as views of the arrays."""
        if not 0 <= start <= stop <= self.num_steps:
            raise ValueError(f"timesteps {start} to {stop} are not in a sequence of {self.num_steps}")
        first, last = int(self.step_splits[start]), int(self.step_splits[stop])
        before = np.count_nonzero(self.kinds[:first] == _PATCH)
        within = np.count_nonzero(self.kinds[first:last] == _PATCH)
        ends = np.cumsum(self.patches_per_image)
        images = slice(*np.searchsorted(ends, [before, before + within], side="right"))
        return TokenSequence(
            self.ids[first:last],
            self.kinds[first:last],
            self.loss_mask[first:last],
            self.step_splits[start : stop + 1] - first,
            self.patches[before : before + within],
            self.grids[images],
            self.encoded[images],
        )

    @staticmethod
    def join(sequences: "Sequence[TokenSequence]") -> "TokenSequence":
        """Join sequences one after the other. Encoded images are kept if all sequences with images have them."""
        if not sequences:
            raise ValueError("nothing to join: no sequences")
        if any(len(s) != s.step_splits[-1] for s in sequences):
            raise ValueError("a padded sequence cannot be joined: its padding would stand between tokens")
        offsets = np.cumsum([0, *(len(s) for s in sequences)])
        splits = [s.step_splits[1:] + offset for s, offset in zip(sequences, offsets, strict=False)]
        encoded = all(len(s.encoded) == len(s.grids) for s in sequences)
        names = ("ids", "kinds", "loss_mask", "patches", "grids")
        joined: dict[str, Any] = {name: np.concatenate([getattr(s, name) for s in sequences]) for name in names}
        return TokenSequence(
            step_splits=np.concatenate([np.zeros(1, np.int64), *splits]),
            encoded=tuple(image for s in sequences for image in s.encoded) if encoded else (),
            **joined,
        )

    def pad(self, length: int) -> "TokenSequence":
        """Padded at the end to `length` tokens: id 0, not in the loss. Raises ValueError if L > length."""
        if length < len(self):
            raise ValueError(f"{len(self)} tokens do not fit in {length}: slice by timesteps first")
        extra = (0, length - len(self))
        arrays: dict[str, Any] = {name: np.pad(getattr(self, name), extra) for name in ("ids", "kinds", "loss_mask")}
        return dataclasses.replace(self, **arrays)


def local_positions(kinds: NDArray[np.uint8], step_splits: NDArray[np.int64]) -> NDArray[np.int32]:
    """int32[L], see `TokenSequence.local_positions`, of kinds uint8[L] and step_splits int64[T + 1].

    >>> local_positions(np.array([2, 2, 4, 5, 0], np.uint8), np.array([0, 4, 5])).tolist()  # a timestep, a document
    [0, 1, -1, -2, -1]
    """
    size = int(step_splits[-1])
    lengths = np.diff(step_splits)
    separator = kinds[:size] == _SEPARATOR
    seen = np.concatenate([[0], np.cumsum(separator)])  # separators before each token, and before the end
    at_start, at_end = seen[step_splits[:-1]], seen[step_splits[1:]]
    after = seen[:size] > np.repeat(at_start, lengths)
    none = separator | np.repeat(at_start == at_end, lengths)
    index = np.arange(size) - np.repeat(step_splits[:-1], lengths)
    positions = np.full(len(kinds), NO_POSITION, np.int32)
    positions[:size] = np.where(none, NO_POSITION, np.where(after, ACTION_POSITION, index))
    return positions
