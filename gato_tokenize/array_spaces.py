"""Spaces of arrays that lie in files, for `read_spaces`: what one timestep of a field is, as far as the file says it.

They stand beside Gymnasium's, which need Gymnasium, and differ from them in that a range may be unknown.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True, eq=False)
class Box:
    """Numbers of one dtype and shape, and their bounds if somebody states them.

    low, high: the bounds, each of the shape, or None if they are unknown. seen: (lowest, highest) of each element in
    the episodes that were looked at, or None; a continuous action whose bounds are unknown takes its range from it.

    >>> from gato_tokenize import read_spaces
    >>> seen = np.array([-0.5, -3.0]), np.array([0.5, 1.0])
    >>> print(read_spaces(Box((2,), np.dtype(np.int64)), Box((2,), np.dtype("f4"), seen=seen)).spec.describe())
    observation  continuous, float32[2]
    action       continuous, float32[2], from (-1.0, -4.0) to (1.0, 4.0)
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    low: NDArray[Any] | None = None
    high: NDArray[Any] | None = None
    seen: tuple[NDArray[Any], NDArray[Any]] | None = None

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise ValueError("a Box has both bounds or none")

    @classmethod
    def seen_in(cls, arrays: "Sequence[NDArray[Any]]") -> "Box":
        """The Box of a field without stated bounds, from its arrays [T, ...] in the episodes that were looked at.

        >>> Box.seen_in([np.array([[0.5, -2]]), np.array([[1.0, np.inf], [0, 0]])]).seen
        (array([ 0., -2.]), array([1., 0.]))

        Raises ValueError if there is no array, or if one has another shape or dtype than the first.
        """
        shapes = {(array.shape[1:], array.dtype) for array in arrays}
        if len(shapes) != 1:
            raise ValueError(f"the first episodes differ in their shapes and dtypes: {sorted(map(str, shapes))}")
        ((shape, dtype),) = shapes
        values = np.concatenate(arrays)
        if dtype.kind not in "fiu" or not values.size:
            return cls(shape, dtype)
        finite = np.isfinite(values)
        low, high = (np.where(finite, values, fill) for fill in (np.inf, -np.inf))
        known = finite.any(axis=0)
        return cls(shape, dtype, seen=tuple(np.where(known, v, 0) for v in (low.min(axis=0), high.max(axis=0))))  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class Discrete:
    """One whole number in [start, start + n)."""

    n: int
    start: int = 0


@dataclasses.dataclass(frozen=True)
class Text:
    """A string."""


@dataclasses.dataclass(frozen=True)
class PictureFiles:
    """The bytes of a PNG, JPEG or other picture file. shape: [height, width, channels], or None if it is unknown."""

    shape: tuple[int, ...] | None = None
