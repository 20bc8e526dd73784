"""Reading a source up to a limit, as a conversion with `--limit` does."""

from typing import Any

from pipelines.conversion.limit import limited_works
from pipelines.sources.reading import read_partition
from pipelines.sources.source import Source


def read_source(source: Source, limit: int | None = None) -> list[Any]:
    """(candidate, what became of it) of every candidate, of the first `limit` if there is one."""
    works = limited_works(source, limit)
    return [item for work in works for item in read_partition(source, work.partition, work.limit)]
