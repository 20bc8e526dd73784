"""Limit: the partitions of a source that a conversion reads, and how many candidates of the last one."""

import contextlib
import itertools
from typing import Any

from pipelines.conversion.work import Work
from pipelines.sources.pieces import SHARD_BYTES
from pipelines.sources.source import Source


def limited_works(source: Source, limit: int | None, shard_bytes: int = SHARD_BYTES) -> list[Work]:
    """Return the works that hold the first `limit` candidates of a source; all of them if it is None. Their partitions
    aim at `shard_bytes`.

    The work of the partition in which the limit falls has a limit: the number of candidates that are read there.
    """
    works: list[Work] = []
    source.shard_bytes = shard_bytes
    for partition in source.partitions():
        left = None
        if limit is not None:
            if limit <= 0:
                break
            count = partition["count"] if "count" in partition else _count(source, partition, limit)
            if count > limit or (count == limit and "count" not in partition):  # more may follow what was counted
                left = limit
            limit -= count
        works.append(Work(source.source, partition, limit=left))
    return works


def _count(source: Source, partition: dict[str, Any], most: int) -> int:
    """Count the candidates of a partition, up to `most`; none is loaded."""
    count = 0
    with contextlib.suppress(Exception, SystemExit):  # the process that reads the partition reports it
        for _ in itertools.islice(source.candidates(partition), most):
            count += 1
    return count
