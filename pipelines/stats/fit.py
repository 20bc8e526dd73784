"""Fit of continuous values to their bins: counted per dimension, judged once all values are counted.

Companding has its finest steps around 0 and none beyond 256 (paper section 2.1): joint angles in millionths of a
radian, or a height of 1000.2 m, all fall into one bin. Values are never changed here; the advice is for the people who
make the data.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gato_tokenize.field_spec import ContinuousSpec
from gato_tokenize.modalities.continuous import ContinuousTokenizer

MOST_CLIPPED = 0.001  # of a dimension's values; fewer are outliers, which do not justify scaling the rest
LEAST_LEVELS = 16  # equal bins over exactly the range would be 1024 levels; companded values in [-1, 1] have about 200
_JITTER = 2**-12  # a range below this share of the largest value is noise of a constant: float32 has few steps there


def count_fit(values: NDArray[Any], ids: NDArray[np.int32], tokenizer: ContinuousTokenizer) -> dict[str, Any]:
    """Count how the values of one episode, float32[T, ...], fall into bins; `ids`, int32[T, ...], are their tokens.

    Returns {"bins": int64[bins], the number of values in each bin, "dimensions": {...}}. `dimensions` has an array [d]
    for the d elements of the field under each of these names: "min" and "max"; "clipped", the number of values beyond
    the bins' reach; "saturated", the number in the first or last bin; "error_sum" and "error_max" of
    |decode(encode(x)) - x| in the source's units.
    """
    bins = tokenizer.vocabulary.continuous
    used = np.bincount(ids.ravel() - bins.start, minlength=len(bins))
    x, error = _columns(values), _columns(np.abs(tokenizer.decode(ids) - values))
    saturated = clipped = np.zeros(len(x), np.int64)
    if used[0] or used[-1]:  # clipped values fall into these bins
        saturated = np.count_nonzero(_columns((ids == bins.start) | (ids == bins.stop - 1)), axis=1)
        clipped = np.count_nonzero(_columns(tokenizer.clipped(values)), axis=1)
    dimensions = {
        "min": x.min(axis=1),
        "max": x.max(axis=1),
        "clipped": clipped,
        "saturated": saturated,
        "error_sum": error.sum(axis=1, dtype=np.float64),
        "error_max": error.max(axis=1),
    }
    return {"bins": used, "dimensions": dimensions}


def _columns(values: NDArray[Any]) -> NDArray[Any]:
    """Turn [T, ...] into [d, T]: numpy counts and sums contiguous numbers five times as fast."""
    return np.ascontiguousarray(values.reshape(len(values), -1).T)


@dataclasses.dataclass(frozen=True)
class Fit:
    """The fit of one dimension of a field, or of all its dimensions.

    `clipped` and `saturated` are shares in [0, 1]; the errors are of |decode(encode(x)) - x|, in the source's units.

    >>> Fit(low=-1.0, high=1.0, clipped=0.0, saturated=0.0, mean_error=0.005, max_error=0.01).levels
    100.0
    """

    low: float
    high: float
    clipped: float
    saturated: float
    mean_error: float
    max_error: float

    @property
    def levels(self) -> float:
        """Number of equal bins over the range that would have this mean error, a quarter of a bin; infinite for 0."""
        return (self.high - self.low) / (4 * self.mean_error) if self.mean_error else math.inf

    @property
    def constant(self) -> bool:
        return self.high - self.low <= _JITTER * max(abs(self.low), abs(self.high))

    @property
    def bad(self) -> bool:
        """True if too many values are clipped, or if values that vary fall into too few bins."""
        return self.clipped > MOST_CLIPPED or (self.levels < LEAST_LEVELS and not self.constant)


def fits(field: Mapping[str, Any]) -> list[Fit]:
    """Return the `Fit` of each dimension, from a continuous field's counts in stats.json."""
    columns = field["dimensions"]
    count = field["values"] // max(1, len(columns["min"]))
    names = ("min", "max", "clipped", "saturated", "error_sum", "error_max")
    return [
        Fit(low, high, clipped / count, saturated / count, error / count, largest)
        for low, high, clipped, saturated, error, largest in zip(*(columns[name] for name in names), strict=True)
    ]


class Row(NamedTuple):
    """A line of the fit report: one element of a field, or all of them."""

    element: str  # its index, such as "1, 2" in a matrix; "all"
    fit: Fit
    levels: float | None  # the smallest among the elements that vary; None if no element varies
    scaling: str  # one that would fit better; "" if none is needed

    def words(self) -> list[str]:
        """Return the cells of the line: element, range, clipped, saturated, error, levels, scaling."""
        fit = self.fit
        levels = "constant" if self.levels is None else "exact" if self.levels == math.inf else f"{self.levels:.0f}"
        error = f"{fit.mean_error:.2g}, at most {fit.max_error:.2g}"
        shares = [f"{share:.2%}" for share in (fit.clipped, fit.saturated)]
        return [self.element, f"{fit.low:.4g} to {fit.high:.4g}", *shares, error, levels, self.scaling]


def report(spec: ContinuousSpec, action: bool, field: Mapping[str, Any], m: float) -> list[Row]:
    """Return a row for each element, after one for the whole field if it has several elements.

    `field` has the field's counts in stats.json; `m` is the vocabulary's.
    """
    elements = fits(field)
    names = [", ".join(map(str, index)) for index in np.ndindex(spec.shape)]
    levels = [None if fit.constant else fit.levels for fit in elements]
    scalings = [advice(fit, action, m) for fit in elements]
    rows = [Row(*row) for row in zip(names, elements, levels, scalings, strict=True)]
    least = min((level for level in levels if level is not None), default=None)
    bad = len(rows) - scalings.count("")
    summary = Row("all", _whole(elements), least, f"{bad} of {len(rows)} elements need one" if bad else "")
    return rows if len(rows) == 1 else [summary, *rows]


def _whole(elements: list[Fit]) -> Fit:
    """Combine elements: the widest range, the mean shares and mean error, the largest error."""
    count = len(elements)
    return Fit(
        low=min(fit.low for fit in elements),
        high=max(fit.high for fit in elements),
        clipped=sum(fit.clipped for fit in elements) / count,
        saturated=sum(fit.saturated for fit in elements) / count,
        mean_error=sum(fit.mean_error for fit in elements) / count,
        max_error=max(fit.max_error for fit in elements),
    )


def advice(fit: Fit, action: bool, m: float) -> str:
    """Propose a scaling that would fit better, or "" if the values fit well enough. `m` is the vocabulary's.

    >>> advice(Fit(1000.0, 1000.5, 1.0, 1.0, 744.0, 744.5), action=False, m=256)
    'subtract 1000.25, divide by 0.25'
    >>> advice(Fit(0.0, 512.0, 0.4, 0.4, 9.0, 256.0), action=False, m=256)
    'divide by 2'
    >>> advice(Fit(-0.003, 0.002, 0.0, 0.0, 0.0005, 0.001), action=True, m=256)
    'give it the bounds low=-0.003, high=0.002'
    """
    if not fit.bad:
        return ""
    if action:
        margin = max(abs(fit.low), 1.0) if fit.constant else 0.0  # bounds must differ
        size = fit.high - fit.low + 2 * margin
        low, high = 0.0 - _up(margin - fit.low, size), _up(fit.high + margin, size)
        return f"give it the bounds low={low:.9g}, high={high:.9g}"
    middle, half = (fit.low + fit.high) / 2, (fit.high - fit.low) / 2
    largest = max(abs(fit.low), abs(fit.high))
    if abs(middle) > 2 * half:  # far from 0, where the bins are wide
        divide = "" if fit.constant else f", divide by {_up(half, half):g}"
        return f"subtract {middle:.6g}{divide}"
    scale = largest / m if fit.clipped > MOST_CLIPPED else largest
    return f"divide by {_up(scale, scale):g}"


def _up(value: float, of: float) -> float:
    """Round up to two digits of `of`, so that the values stay inside."""
    unit = 10.0 ** (1 - math.floor(math.log10(of)))
    nearest = round(value * unit) / unit
    inside = np.float32(value) <= np.float32(nearest)  # 0.003 * 10^4 is 30.000000000000004, but the values are float32
    return nearest if inside else math.ceil(value * unit) / unit
