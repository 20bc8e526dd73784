"""Continuous values <-> bins <-> ids (Reed et al. 2022, section 2.1 and appendix B)."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gato_tokenize.arrays import plain_array
from gato_tokenize.modalities.array_checks import check_fit, index_of_first
from gato_tokenize.modalities.bins import bins_of
from gato_tokenize.vocabulary import Vocabulary

_FLOAT32_MAX = float(np.finfo(np.float32).max)


def mu_law(values: ArrayLike, mu: float = 100.0, m: float = 256.0) -> NDArray[np.float64]:
    """F(x) = sgn(x) ln(mu |x| + 1) / ln(m mu + 1): real[any shape] -> float64 of the same shape (appendix B).

    This is not the textbook's mu-law: F(m), not F(1), is 1. Nothing is clipped, and NaN stays NaN. It is for plots and
    checks; tokens come from `ContinuousTokenizer`, because the last digit of a logarithm differs among platforms.

    >>> mu_law([-256, 0, 1]).round(4).tolist()
    [-1.0, 0.0, 0.4547]
    """
    x = plain_array(values, np.float64)
    return np.asarray(np.sign(x) * np.log1p(mu * np.abs(x)) / np.log1p(m * mu))


def inverse_mu_law(values: ArrayLike, mu: float = 100.0, m: float = 256.0) -> NDArray[np.float64]:
    """sgn(y) ((m mu + 1)^|y| - 1) / mu: real[any shape] -> float64 of the same shape; the inverse of `mu_law`.

    >>> inverse_mu_law([-1, 0, 0.4547]).round(3).tolist()
    [-256.0, 0.0, 1.0]
    """
    y = plain_array(values, np.float64)
    return np.asarray(np.sign(y) * np.expm1(np.abs(y) * np.log1p(m * mu)) / mu)


class ContinuousTokenizer:
    """Floats <-> the ids of `vocabulary.continuous`: companding (observations only), clipping, uniform bins.

    companded: True for observations, False for actions: the role decides, not the data.
    low, high: real or real[...], the finite bounds of an action space as float32, by default -1 and 1; arrays are
        broadcast against the last axes of the values. [low, high] is mapped affinely to [-1, 1] and back.

    The bin of x, taken as float32, is the number of inner edges <= x. The edges are the float32 roundings of the
    inverse formula. Values beyond the outer edges fall into the first or the last bin; `clipped` marks them.

    >>> ContinuousTokenizer(companded=True).encode([0, 1, -5, 300])
    array([32512, 32744, 32198, 33023], dtype=int32)
    >>> action = ContinuousTokenizer(companded=False)
    >>> action.encode([0.25, -1, 1])
    array([32640, 32000, 33023], dtype=int32)
    >>> action.decode([32640, 32000, 33023]).tolist()  # the centres of the bins
    [0.2509765625, -0.9990234375, 0.9990234375]
    >>> ContinuousTokenizer(companded=False, low=[0, -5], high=[10, 5]).encode([5, 5])
    array([32512, 33023], dtype=int32)

    Raises ValueError if the bounds are not finite float32 numbers with low < high, if float32 cannot separate the
    vocabulary's bins (between the bounds), or if companded values have bounds.
    """

    def __init__(
        self, *, companded: bool, low: ArrayLike = -1.0, high: ArrayLike = 1.0, vocabulary: Vocabulary | None = None
    ) -> None:
        self.companded = companded
        self.vocabulary = v = vocabulary or Vocabulary()
        self.low, self.high = np.broadcast_arrays(_float32(low, "low"), _float32(high, "high"))
        self._grid = (v.continuous_bins, v.mu, v.m) if companded else (v.continuous_bins, None, None)
        bins_of(*self._grid)  # refuses bins that float32 cannot tell apart, before any value is seen
        self._affine = bool((self.low != -1).any() or (self.high != 1).any())
        if self._affine and companded:
            raise ValueError("companded values have no bounds: low and high are for companded=False")
        wide, narrow = self.high.astype(np.float64), self.low.astype(np.float64)
        if (narrow >= wide).any():
            at = index_of_first(narrow >= wide)
            raise ValueError(f"low {self.low[at]} at index {at} is not below high {self.high[at]}")
        # x -> (x - middle) / half is exact for bounds of -1 and 1, so those elements do not change.
        self._middle, self._half = (narrow + wide) / 2, (wide - narrow) / 2
        largest = np.maximum(np.abs(self.low), np.abs(self.high))
        step = (largest - np.nextafter(largest, np.float32(0))).astype(np.float64)
        if self._affine and (wide - narrow <= 2 * v.continuous_bins * step).any():
            at = index_of_first(wide - narrow <= 2 * v.continuous_bins * step)
            raise ValueError(
                f"low {self.low[at]} and high {self.high[at]} at index {at} are too close: float32 cannot tell "
                f"{v.continuous_bins} bins between them apart; subtract an offset from the values first"
            )

    def __repr__(self) -> str:
        bounds = f", low={self.low.tolist()}, high={self.high.tolist()}" if self._affine else ""
        return f"ContinuousTokenizer(companded={self.companded}{bounds})"

    def __eq__(self, other: object) -> bool:
        return self._settings() == other._settings() if isinstance(other, ContinuousTokenizer) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._settings())

    def _settings(self) -> tuple[object, ...]:
        return self.companded, self.low.shape, self.low.tobytes(), self.high.tobytes(), self.vocabulary

    def encode(self, values: ArrayLike) -> NDArray[np.int32]:
        """real[any shape] -> int32 ids of the same shape.

        Raises ValueError if the dtype is not real or the bounds do not fit the shape, and naming the first value that
        is NaN, infinite or beyond float32's range, with its index.
        """
        x = self._checked(values)
        if self._affine:
            inside = np.minimum(np.maximum(x, self.low), self.high)
            x = np.asarray((inside - self._middle) / self._half, np.float32)
        ids = np.empty(x.shape, np.int32)
        bins_of(*self._grid).find(x.reshape(-1), self.vocabulary.text_size, ids.reshape(-1))
        return ids

    def decode(self, ids: ArrayLike) -> NDArray[np.float32]:
        """int[any shape] ids -> float32 of the same shape: the centres of the bins, in the source's units.

        Raises ValueError if the dtype is not an integer or the bounds do not fit the shape, and naming the first id
        that is outside `vocabulary.continuous`, with its index.
        """
        array = plain_array(ids, name="id")
        legal = self.vocabulary.continuous
        if array.size == 0:
            array = array.astype(np.int64)
        elif array.dtype.kind not in "iu":
            raise ValueError(f"ids must be integers, not {array.dtype}")
        elif array.min() < legal.start or array.max() >= legal.stop:
            at = index_of_first((array < legal.start) | (array >= legal.stop))
            raise ValueError(
                f"id {array[at]} at index {at} is outside [{legal.start}, {legal.stop}), the ids of continuous values"
            )
        centres = bins_of(*self._grid).centres[array - legal.start]
        if not self._affine:
            return np.asarray(centres)
        check_fit(self.low.shape, array.shape, "low or high")
        return np.asarray(self._middle + centres * self._half, np.float32)

    def clipped(self, values: ArrayLike) -> NDArray[np.bool_]:
        """real[any shape] -> bool of the same shape: True for values that `encode` clips.

        They are outside [low, high] for actions, outside [-m, m] for companded values.

        >>> ContinuousTokenizer(companded=True).clipped([256, -257]).tolist()
        [False, True]

        Raises ValueError as `encode` does.
        """
        x = self._checked(values)
        if self.companded:
            return np.asarray(np.abs(x.astype(np.float64)) > self.vocabulary.m)
        return np.asarray((x < self.low) | (x > self.high))

    def _checked(self, values: ArrayLike) -> NDArray[np.float32]:
        x = _float32(values, "value")
        if self._affine:
            check_fit(self.low.shape, x.shape, "low or high")
        return x


def _float32(values: ArrayLike, name: str) -> NDArray[np.float32]:
    """Return real numbers as float32. Raises ValueError naming the first that is not finite there."""
    array = plain_array(values, name=name)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name}: expected real numbers, got {array.dtype}")
    x = array
    if array.dtype != np.float32:
        with np.errstate(over="ignore"):  # reported below, with its index
            x = array.astype(np.float32)
    finite = np.isfinite(x)
    if not finite.all():
        at = index_of_first(~finite)
        beyond = f", beyond float32's range (+-{_FLOAT32_MAX:.6g})" if np.isfinite(array[at]) else ""
        raise ValueError(f"{name} {array[at]} at index {at} is not finite{beyond}")
    return x
