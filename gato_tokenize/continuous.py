"""Continuous values <-> bins <-> ids (Reed et al. 2022, section 2.1 and appendix B)."""

import decimal
import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gato_tokenize.discrete import check_fit, index_of_first
from gato_tokenize.vocabulary import Vocabulary

_CHUNK = 1 << 16  # values whose temporaries stay in a core's cache: 1.3x on a million values
_FEW = 64  # up to here one search among the edges costs less than the table's seven array operations
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def mu_law(values: ArrayLike, mu: float = 100.0, m: float = 256.0) -> NDArray[np.float64]:
    """F(x) = sgn(x) ln(mu |x| + 1) / ln(m mu + 1): real[any shape] -> float64 of the same shape (appendix B).

    Not the textbook's mu-law: F(m), not F(1), is 1. Nothing is clipped, NaN stays NaN. To look at, not to tokenize
    with: the last digit of a logarithm differs among platforms, `ContinuousTokenizer`'s edges do not.

    >>> mu_law([-256, 0, 1]).round(4).tolist()
    [-1.0, 0.0, 0.4547]
    """
    x = np.asarray(values, np.float64)
    return np.asarray(np.sign(x) * np.log1p(mu * np.abs(x)) / np.log1p(m * mu))


def inverse_mu_law(values: ArrayLike, mu: float = 100.0, m: float = 256.0) -> NDArray[np.float64]:
    """sgn(y) ((m mu + 1)^|y| - 1) / mu: real[any shape] -> float64 of the same shape; the inverse of `mu_law`.

    >>> inverse_mu_law([-1, 0, 0.4547]).round(3).tolist()
    [-256.0, 0.0, 1.0]
    """
    y = np.asarray(values, np.float64)
    return np.asarray(np.sign(y) * np.expm1(np.abs(y) * np.log1p(m * mu)) / mu)


class ContinuousTokenizer:
    """Floats <-> the ids of `vocabulary.continuous`: companding (observations only), clipping, uniform bins.

    companded: True for observations, False for actions: the role decides, not the data.
    low, high: real or real[...], the finite bounds of an action space, taken as float32, default -1 and 1; arrays are
        broadcast against the last axes of the values. [low, high] is mapped affinely to [-1, 1] and back.

    The bin of x, taken as float32, is how many of the inner edges are <= x; the edges are the float32 roundings of
    the inverse formula. Values beyond the outer edges fall into the first and the last bin: `clipped` tells which.

    >>> ContinuousTokenizer(companded=True).encode([0, 1, -5, 300])
    array([32512, 32744, 32198, 33023], dtype=int32)
    >>> action = ContinuousTokenizer(companded=False)
    >>> action.encode([0.25, -1, 1])
    array([32640, 32000, 33023], dtype=int32)
    >>> action.decode([32640, 32000, 33023]).tolist()  # the centres of the bins
    [0.2509765625, -0.9990234375, 0.9990234375]
    >>> ContinuousTokenizer(companded=False, low=[0, -5], high=[10, 5]).encode([5, 5])
    array([32512, 33023], dtype=int32)

    Raises ValueError where the bounds are not finite float32 numbers, low < high, where 1024 bins between them
    are closer than float32 numbers are, and for bounds of companded values.
    """

    def __init__(
        self, companded: bool, low: ArrayLike = -1.0, high: ArrayLike = 1.0, vocabulary: Vocabulary | None = None
    ) -> None:
        self.companded = companded
        self.vocabulary = v = vocabulary or Vocabulary()
        self.low, self.high = np.broadcast_arrays(_float32(low, "low"), _float32(high, "high"))
        self._grid = (v.continuous_bins, v.mu, v.m) if companded else (v.continuous_bins, None, None)
        self._affine = bool((self.low != -1).any() or (self.high != 1).any())
        if self._affine and companded:
            raise ValueError("companded values have no bounds: low and high are for companded=False")
        wide, narrow = self.high.astype(np.float64), self.low.astype(np.float64)
        if (narrow >= wide).any():
            at = index_of_first(narrow >= wide)
            raise ValueError(f"low {self.low[at]} at index {at} is not below high {self.high[at]}")
        # x -> (x - middle) / half: exact where the bounds are -1 and 1, so that those elements stay what they are.
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

    def encode(self, values: ArrayLike) -> NDArray[np.int32]:
        """real[any shape] -> int32 ids of the same shape.

        Raises ValueError where the dtype is not real, where the bounds do not fit the shape, and for NaN, infinity
        and what float32 cannot hold: it names the first one's index and the value.
        """
        x = self._checked(values)
        if self._affine:
            inside = np.minimum(np.maximum(x, self.low), self.high)
            x = np.asarray((inside - self._middle) / self._half, np.float32)
        ids = np.empty(x.shape, np.int32)
        _bins(*self._grid).find(x.reshape(-1), self.vocabulary.text_size, ids.reshape(-1))
        return ids

    def decode(self, ids: ArrayLike) -> NDArray[np.float32]:
        """int[any shape] ids -> float32 of the same shape: the centres of the bins, in the source's units.

        Raises ValueError where the dtype is no integer, where the bounds do not fit the shape, and for an id
        outside `vocabulary.continuous`: it names the first one's index, the id and the range.
        """
        array = np.asarray(ids)
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
        centres = _bins(*self._grid).centres[array - legal.start]
        if not self._affine:
            return np.asarray(centres)
        check_fit(self.low.shape, array.shape, "low or high")
        return np.asarray(self._middle + centres * self._half, np.float32)

    def clipped(self, values: ArrayLike) -> NDArray[np.bool_]:
        """real[any shape] -> bool of the same shape: where `encode` loses a value because it lies beyond the range.

        The range is [low, high] of actions, [-m, m] of companded values, their ends included.

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
    """Real and all finite, or ValueError naming the first that is not."""
    array = np.asarray(values)
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


class _Bins(NamedTuple):
    """The edges and centres of one kind of bins, and a table over the leading bits of float32 that finds a bin.

    A bucket, the floats that share their leading bits, holds one edge at most. Its entry is made so that adding a
    float's bits to it and shifting the trailing bits away gives the bin. Magnitudes grow with the bits and bins of
    negative floats fall with the magnitude: there it gives the complement, which the sign undoes.
    """

    edges: NDArray[np.float32]  # [bins - 1], ascending
    centres: NDArray[np.float32]  # [bins]
    table: NDArray[np.int32] | None  # [2**(32 - shift)], None where too many bins would need too large a table
    shift: int

    def find(self, x: NDArray[np.float32], offset: int, out: NDArray[np.int32]) -> None:
        """finite float32[n] -> int32[n]: how many edges are <= x, plus the offset."""
        if self.table is None or x.size <= _FEW:
            out[:] = self.edges.searchsorted(x, "right")
            out += offset
            return
        room = min(x.size, _CHUNK)
        buckets, signs = np.empty(room, np.intp), np.empty(room, np.int32)
        for start in range(0, x.size, _CHUNK):
            part, found = x[start : start + _CHUNK], out[start : start + _CHUNK]
            bits, bucket, sign = part.view(np.int32), buckets[: part.size], signs[: part.size]
            np.right_shift(part.view(np.uint32), self.shift, out=bucket, casting="unsafe")
            self.table.take(bucket, out=found, mode="wrap")  # the mode without a check
            found += bits
            found >>= self.shift
            found ^= np.right_shift(bits, 31, out=sign)
            found += offset


@functools.lru_cache(maxsize=16)
def _bins(bins: int, mu: float | None, m: float | None) -> _Bins:
    positions = range(1, 2 * bins)  # in half bins: edges at even ones, centres at odd ones
    if mu is None or m is None:
        grid = [(j - bins) / bins for j in positions]
    else:
        grid = _companded_grid(bins, mu, m)
    with np.errstate(over="ignore"):
        points = np.array(grid).astype(np.float32)
    if not (np.isfinite(points).all() and (np.diff(points) > 0).all()):
        raise ValueError(f"float32 cannot tell {bins} bins apart with mu={mu} and m={m}")
    edges, centres = points[1::2], points[0::2]
    for shift in range(17, 11, -1):
        table = _table(np.ascontiguousarray(edges), shift)
        if table is not None:
            return _Bins(np.ascontiguousarray(edges), centres, table, shift)
    return _Bins(np.ascontiguousarray(edges), centres, None, 0)


def _companded_grid(bins: int, mu: float, m: float) -> list[float]:
    """The inverse formula at every half bin, in decimal: no platform's `exp` or `pow` has a say in a token."""
    with decimal.localcontext(decimal.Context(prec=40)) as context:
        rate = context.ln(decimal.Decimal(m) * decimal.Decimal(mu) + 1)
        upper = [float(((rate * j / bins).exp() - 1) / decimal.Decimal(mu)) for j in range(1, bins)]
    return [-x for x in reversed(upper)] + [0.0] + upper


def _table(edges: NDArray[np.float32], shift: int) -> NDArray[np.int32] | None:
    """`_Bins.table`, or None where two edges share a bucket or a bin's number does not fit above the trailing bits."""
    if edges.size + 1 > 1 << (31 - shift):
        return None
    first = np.arange(1 << (32 - shift), dtype=np.uint32) << np.uint32(shift)
    trailing = np.uint32((1 << shift) - 1)
    finite = np.isfinite((first | trailing).view(np.float32))
    ends = [np.where(finite, bits, 0).astype(np.uint32).view(np.float32) for bits in (first, first | trailing)]
    at_first, at_last = (edges.searchsorted(end, "right").astype(np.int64) for end in ends)
    if np.abs(at_last - at_first).max() > 1:
        return None
    negative = first >> np.uint32(31) == 1
    padded = np.concatenate([edges, edges[-1:], np.zeros(1, np.float32)])
    # The one edge inside: the next one up, or, where magnitudes lead downwards, the one just passed.
    inside = padded[np.where(negative, at_first - 1, at_first)].view(np.uint32) & trailing
    start = np.where(negative, ~at_first, at_first)
    carry = np.where(at_first == at_last, 0, (1 << shift) - inside.astype(np.int64) - negative)
    entry: NDArray[Any] = (start << shift) + carry - first.astype(np.int64)
    return entry.astype(np.int32)  # modulo 2**32, as the addition of the bits will be
