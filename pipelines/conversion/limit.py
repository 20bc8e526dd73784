"""Limit: which partitions of a source a conversion reads, and how many candidates of the last one."""

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.sources.source import Candidate, Source


def limited_works(source: Source, limit: int | None) -> list[dict[str, Any]]:
    """The partitions of a source, as a plan has them, that hold its first `limit` candidates; all if it is None.

    The partition in which the limit falls says "limit": the number of candidates that are read there.
    """
    works: list[dict[str, Any]] = []
    for partition in source.partitions():
        work: dict[str, Any] = {"source": source.source, "partition": partition}
        if limit is not None:
            if limit <= 0:
                break
            count = partition["count"] if "count" in partition else _counted(source, partition, limit)
            if count > limit or (count == limit and "count" not in partition):  # what is counted may go on
                work["limit"] = limit
            limit -= count
        works.append(work)
    return works


def _counted(source: Source, partition: dict[str, Any], most: int) -> int:
    """How many candidates a partition has, `most` at most; none is loaded."""
    count = 0
    with contextlib.suppress(Exception, SystemExit):  # the process that reads the partition reports it
        for _ in itertools.islice(source.candidates(partition), most):
            count += 1
    return count


def planned_candidates(source: Source, work: Mapping[str, Any]) -> Iterator[Candidate]:
    """The candidates of a planned partition, up to its limit."""
    return itertools.islice(source.candidates(work["partition"]), work.get("limit"))
