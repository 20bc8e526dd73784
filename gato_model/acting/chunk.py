"""Chunk: tokens of one row that the decoder is to read, and `batch`, which pads the chunks of several rows."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_model.data.windows import Window
from gato_tokenize import TokenSequence
from gato_tokenize.vocabulary import Kind


@dataclasses.dataclass(frozen=True, eq=False)
class Chunk:
    """n consecutive tokens, p of them patches."""

    ids: NDArray[np.int32]  # [n], 0 at a patch
    positions: NDArray[np.int32]  # [n], as `TokenSequence.local_positions`
    places: NDArray[np.int64]  # [p], the index of each patch among the tokens
    patches: NDArray[np.uint8]  # [p, 16, 16, 3]
    intervals: NDArray[np.int32]  # [p, 4], as `PatchPositionEncoding` takes them

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of_sequence(cls, sequence: TokenSequence, quantization: int) -> "Chunk":
        """Take all tokens of a sequence that has no padding."""
        kinds, lengths = sequence.kinds, np.diff(sequence.step_splits)
        window = Window(sequence.ids, kinds, sequence.loss_mask, lengths, sequence.patches, sequence.grids)
        places = np.flatnonzero(kinds == Kind.PATCH)
        positions = sequence.local_positions
        return cls(sequence.ids, positions, places, sequence.patches, window.patch_intervals(quantization))

    @classmethod
    def of_ids(cls, ids: Any, position: int) -> "Chunk":
        """Make a chunk of ids, none of them patches, all at one local position."""
        array = np.asarray(ids, np.int32)
        none = np.zeros((0, 4), np.int32)
        patches = np.zeros((0, 16, 16, 3), np.uint8)
        return cls(array, np.full(len(array), position, np.int32), np.zeros(0, np.int64), patches, none)

    @classmethod
    def join(cls, chunks: "Sequence[Chunk]") -> "Chunk":
        """Join chunks in order."""
        starts = np.cumsum([0, *(len(chunk) for chunk in chunks)])
        places = [chunk.places + start for chunk, start in zip(chunks, starts, strict=False)]
        names = ("ids", "positions", "patches", "intervals")
        joined: dict[str, Any] = {name: np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in names}
        return cls(places=np.concatenate(places), **joined)

    def slice(self, start: int, stop: int) -> "Chunk":
        """Take tokens start to stop (exclusive), as views."""
        patches = slice(*np.searchsorted(self.places, [start, stop]))
        return Chunk(
            self.ids[start:stop],
            self.positions[start:stop],
            self.places[patches] - start,
            self.patches[patches],
            self.intervals[patches],
        )


def batch(chunks: Mapping[int, Chunk], rows: int) -> dict[str, NDArray[Any]]:
    """Make the decoder's input of {row: its chunk}, padded at the end; a row without a chunk gets length 0.

    tokens, local_positions  int32[rows, n], n at least 1
    lengths                  int32[rows]
    patches, patch_index, patch_intervals  as `Gato` takes them, at least one patch, which may be padding
    """
    longest = max([1, *map(len, chunks.values())])
    tokens, positions = np.zeros((2, rows, longest), np.int32)
    lengths = np.zeros(rows, np.int32)
    padding = Chunk.of_ids([], 0), rows * longest
    patched = [(chunk, row * longest) for row, chunk in sorted(chunks.items()) if len(chunk.places)]
    for row, chunk in chunks.items():
        lengths[row] = len(chunk)
        tokens[row, : len(chunk)] = chunk.ids
        positions[row, : len(chunk)] = chunk.positions
    if not patched:
        one = np.zeros((1, 16, 16, 3), np.uint8), np.array([padding[1]], np.int32), np.array([[0, 1, 0, 1]], np.int32)
    else:
        one = (
            np.concatenate([chunk.patches for chunk, _ in patched]),
            np.concatenate([chunk.places + start for chunk, start in patched]).astype(np.int32),
            np.concatenate([chunk.intervals for chunk, _ in patched]),
        )
    names = ("patches", "patch_index", "patch_intervals")
    return {"tokens": tokens, "local_positions": positions, "lengths": lengths, **dict(zip(names, one, strict=True))}
