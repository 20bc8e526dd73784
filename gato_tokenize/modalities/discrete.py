"""Discrete values <-> ids (Reed et al. 2022, section 2.1: "flattened into sequences of integers within [0, 1024)")."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gato_tokenize.arrays import plain_array
from gato_tokenize.modalities.array_checks import check_fit, index_of_first
from gato_tokenize.vocabulary import Vocabulary

_INT64 = np.iinfo(np.int64)


class DiscreteTokenizer:
    """Integers in [low, low + size) <-> the ids of `vocabulary.discrete`.

    size: int or int[...], the number of values that each element can take, 1 to `vocabulary.discrete_size`; an array
        (for example of a MultiDiscrete space) is broadcast against the last axes of the values.
    low: int or int[...], the smallest value (default 0), broadcast likewise.

    >>> keys = DiscreteTokenizer(size=[3, 4], low=[0, -2])
    >>> keys.encode([[0, -2], [2, 1]])
    array([[0, 0],
           [2, 3]], dtype=int32)
    >>> keys.decode([2, 3])
    array([2, 1])

    Raises ValueError if a size or a low bound is not an integer, or a size is outside its range.
    """

    def __init__(self, size: ArrayLike, low: ArrayLike = 0, vocabulary: Vocabulary | None = None) -> None:
        self.vocabulary = vocabulary or Vocabulary()
        self.size = _setting(size, "size")
        self.low = _setting(low, "low")
        if (self.size < 1).any():
            raise ValueError(f"size {self.size.min()} is below 1: a discrete element has at least one value")
        if self.size.max() > self.vocabulary.discrete_size:
            raise ValueError(self._too_many(int(self.size.max())))
        if np.any(self.low > _INT64.max - (self.size - 1)):
            raise ValueError(f"low {self.low.max()} leaves no room for its values in int64")
        self._last = self.low + (self.size - 1)

    def __repr__(self) -> str:
        return f"DiscreteTokenizer(size={self.size.tolist()}, low={self.low.tolist()})"

    def __eq__(self, other: object) -> bool:
        return self._settings() == other._settings() if isinstance(other, DiscreteTokenizer) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._settings())

    def _settings(self) -> tuple[object, ...]:
        return self.size.shape, self.size.tobytes(), self.low.shape, self.low.tobytes(), self.vocabulary

    def encode(self, values: ArrayLike) -> NDArray[np.int32]:
        """int or bool[any shape] -> int32 ids of the same shape.

        Raises ValueError if the dtype is not an integer or the settings do not fit the shape, and naming the first
        value that is outside [low, low + size), with its index.
        """
        array = _integers(values, "values")
        check_fit(self._last.shape, array.shape, "size or low")
        beyond: Any = array > _INT64.max if array.dtype == np.uint64 else False  # would wrap around in int64
        whole = array.astype(np.int64)
        wrong = (whole < self.low) | (whole > self._last) | beyond
        if wrong.any():
            raise ValueError(self._complaint(array, wrong))
        return np.asarray((whole - self.low + self.vocabulary.discrete.start).astype(np.int32))

    def decode(self, ids: ArrayLike) -> NDArray[np.int64]:
        """int[any shape] ids -> int64 values of the same shape; the inverse of `encode`.

        Raises ValueError if the dtype is not an integer, and naming the first id that `encode` cannot have given, with
        its index.
        """
        array = _integers(ids, "ids")
        check_fit(self._last.shape, array.shape, "size or low")
        start = self.vocabulary.discrete.start
        wrong = (array < start) | (array >= start + self.size)
        if wrong.any():
            at = index_of_first(wrong)
            legal = f"[{start}, {start + np.broadcast_to(self.size, array.shape)[at]})"
            raise ValueError(f"id {array[at]} at index {at} is outside {legal}, the ids of its discrete values")
        return np.asarray(array.astype(np.int64) - start + self.low)

    def _too_many(self, size: int) -> str:
        shared = not self.vocabulary.disjoint and size > self.vocabulary.text_size
        raised = f"discrete_size={size}" + (",disjoint=true" if shared else "")
        return (
            f"size {size} is more than the {self.vocabulary.discrete_size} discrete ids: set the vocabulary's {raised}"
            f" (gato-data convert --vocabulary {raised}), or split the field"
        )

    def _complaint(self, array: NDArray[Any], wrong: NDArray[np.bool_]) -> str:
        at = index_of_first(wrong)
        low, last = (int(np.broadcast_to(bound, array.shape)[at]) for bound in (self.low, self._last))
        return f"value {array[at]} at index {at} is outside [{low}, {last + 1})"


def _integers(values: ArrayLike, name: str) -> NDArray[Any]:
    array = plain_array(values, name=name)
    if array.size == 0 and array.dtype == np.float64:  # numpy makes it of []
        return array.astype(np.int64)
    if array.dtype.kind not in "iub":
        raise ValueError(f"{name} must be integers of at most 64 bits, not {array.dtype}")
    return array.astype(np.int64) if array.dtype.kind == "b" else array


def _setting(value: ArrayLike, name: str) -> NDArray[np.int64]:
    array = _integers(value, name)
    if array.size == 0:
        raise ValueError(f"{name} must not be empty")
    if array.dtype == np.uint64 and array.max() > _INT64.max:
        raise ValueError(f"{name} {array.max()} does not fit int64")
    return array.astype(np.int64)  # a copy
