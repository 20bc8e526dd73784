"""Scores of a policy: means with bootstrap intervals, and normalised scores (Reed et al. 2022, section 4)."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

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


def interquartile_mean(scores: Sequence[ArrayLike], confidence: float = 0.95, seed: int = 0) -> Interval:
    """Compute the mean of the middle half of all tasks' scores together (Agarwal et al. 2021): outliers do not move it.

    scores: float[n] of each task's episodes, n may differ. The interval is that of percentiles of the bootstrap which
    draws each task's episodes again from that task (stratified), as the library rliable reports it. It has no bounds
    if a task has a single episode.

    >>> interquartile_mean([[0.0, 1.0], [1.0, 9.0]]).mean
    1.0

    Raises ValueError for no tasks, a task without scores, or a score that is not finite.
    """
    return _stratified(scores, _middle_mean, confidence, seed)


def mean_of_tasks(scores: Sequence[ArrayLike], confidence: float = 0.95, seed: int = 0) -> Interval:
    """Compute the mean of the tasks' means, with an interval as that of `interquartile_mean`.

    >>> mean_of_tasks([[0.0, 1.0], [1.0, 9.0]]).mean
    2.75
    """
    return _stratified(scores, _mean_of_means, confidence, seed)


def _middle_mean(*tasks: Any, axis: int = -1) -> Any:
    return scipy.stats.trim_mean(np.concatenate(tasks, axis), 0.25, axis)


def _mean_of_means(*tasks: Any, axis: int = -1) -> Any:
    return np.mean([task.mean(axis) for task in tasks], 0)


def _stratified(scores: Sequence[ArrayLike], statistic: Callable[..., Any], confidence: float, seed: int) -> Interval:
    tasks = [np.asarray(task, np.float64) for task in scores]
    if not tasks or any(task.ndim != 1 or not task.size or not np.isfinite(task).all() for task in tasks):
        raise ValueError(f"each task needs at least one finite score in one axis, not {tasks!r}")
    middle = float(statistic(*tasks))
    if min(task.size for task in tasks) == 1:
        return Interval(middle, None, None, confidence)
    found = scipy.stats.bootstrap(
        tasks, statistic, n_resamples=RESAMPLES, batch=100, confidence_level=confidence, method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return Interval(middle, float(found.low), float(found.high), confidence)


def normalised(return_: float, random: float, expert: float) -> float:
    """Compute (return - random) / (expert - random): 0 plays like the random policy, 1 like the expert.

    >>> normalised(60.0, 20.0, 100.0)
    0.5

    Raises ValueError if the expert is no better than the random policy, because the score would mean nothing.
    """
    if not expert > random or not math.isfinite(expert - random):
        raise ValueError(f"an expert's return of {expert:g} is not above the random policy's {random:g}: no score")
    return (return_ - random) / (expert - random)
