"""Scores of a policy: means with bootstrap intervals, and normalised scores (Reed et al. 2022, section 4)."""

import dataclasses
import math

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

RESAMPLES = 9999


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean, and the interval in which the mean of all possible episodes lies with the given confidence.

    low and high are None for a single episode, which says nothing about the spread.
    """

    mean: float
    low: float | None
    high: float | None
    confidence: float

    def __str__(self) -> str:
        """Write the mean and, in brackets, the interval.

        >>> str(Interval(0.5, 0.25, 0.75, 0.95)), str(Interval(3.0, None, None, 0.95))
        ('0.5 [0.25, 0.75]', '3')
        """
        return f"{self.mean:.4g}" if self.low is None else f"{self.mean:.4g} [{self.low:.4g}, {self.high:.4g}]"


def mean_interval(values: ArrayLike, confidence: float = 0.95, seed: int = 0) -> Interval:
    """Compute the mean of float[n], n >= 1, with a bootstrap interval (bias-corrected and accelerated; Efron 1987).

    The same values and seed give the same interval.

    >>> mean_interval([2.0, 2.0, 2.0])
    Interval(mean=2.0, low=2.0, high=2.0, confidence=0.95)

    Raises ValueError for no values, one that is not finite, or a confidence outside (0, 1).
    """
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not array.size or not np.isfinite(array).all():
        raise ValueError(f"an interval needs at least one finite value in one axis, not {array!r}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, not {confidence}")
    mean = float(array.mean())
    if array.size == 1:
        return Interval(mean, None, None, confidence)
    if (array == array[0]).all():  # all resamples are alike
        return Interval(mean, mean, mean, confidence)
    found = scipy.stats.bootstrap(
        (array,), np.mean, n_resamples=RESAMPLES, confidence_level=confidence, rng=np.random.default_rng(seed)
    ).confidence_interval
    return Interval(mean, float(found.low), float(found.high), confidence)


def normalised(return_: float, random: float, expert: float) -> float:
    """Compute (return - random) / (expert - random): 0 plays like the random policy, 1 like the expert.

    >>> normalised(60.0, 20.0, 100.0)
    0.5

    Raises ValueError if the expert is no better than the random policy, because the score would mean nothing.
    """
    if not expert > random or not math.isfinite(expert - random):
        raise ValueError(f"an expert's return of {expert:g} is not above the random policy's {random:g}: no score")
    return (return_ - random) / (expert - random)
