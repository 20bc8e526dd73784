"""Reading a source whole, or up to a limit as a conversion with `--limit` does."""

from pathlib import Path
from typing import Any

from gato_tokenize import Episode
from pipelines.conversion.limit import limited_works
from pipelines.sources import open_source
from pipelines.sources.reading import read_partition
from pipelines.sources.source import Source


def read_source(source: Source, limit: int | None = None) -> list[Any]:
    """(candidate, what became of it) of every candidate, of the first `limit` if there is one."""
    works = limited_works(source, limit)
    return [item for work in works for item in read_partition(source, work.partition, work.limit)]


def open_anew(source: str, path: Path, options: str = "") -> Source:
    """Open `source:path` and options, whatever was opened by that name before."""
    open_source.cache_clear()
    return open_source(f"{source}:{path}{options}")


def results_of(source: str, path: Path, options: str = "") -> list[Any]:
    """What became of every candidate."""
    return [result for _, result in read_source(open_anew(source, path, options))]


def episodes_of(source: str, path: Path, options: str = "") -> list[Episode]:
    """Every episode, of files in which nothing is wrong."""
    found = results_of(source, path, options)
    assert all(isinstance(one, Episode) for one in found), found
    return found
