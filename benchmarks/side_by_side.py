"""Timing of calls in turns in one process, so that other work on the machine slows all of them alike."""

import statistics
import time
from collections.abc import Callable
from typing import Any


def in_turns(
    calls: dict[str, Callable[[], Any]], repeats: int, inner: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Return the median seconds of one call of each, over `repeats` turns of `inner` calls, after an uncounted call."""
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start = clock()
            for _ in range(inner):
                call()
            times[name].append((clock() - start) / inner)
    return {name: statistics.median(of_one) for name, of_one in times.items()}
