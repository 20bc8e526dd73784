"""Pieces of tables: which rows make episodes, and what is lost, from the metadata of the files."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from pipelines.sources.errors import SourceError
from pipelines.sources.formats.places import stamped
from pipelines.sources.parquet.files import DataFile
from pipelines.sources.parquet.opening import open_table
from pipelines.sources.parquet.runs import Run, Span, runs_of
from pipelines.sources.parquet.table_file import TableFile
from pipelines.sources.pieces import RECORD_BYTES, Piece


@dataclasses.dataclass(frozen=True)
class PlannedFile:
    """A file as planning found it: rows and bytes of its groups, and why what follows them cannot be read."""

    file: DataFile
    groups: tuple[int, ...]
    bytes: tuple[int, ...]
    fault: str

    @property
    def rows(self) -> int:
        return sum(self.groups)

    @property
    def lost(self) -> Piece | None:
        """The piece that says what is lost, if anything is. It is one reject."""
        if not self.fault:
            return None
        content = {**self._named, "start": self.rows, "fault": self.fault}
        return Piece(content, RECORD_BYTES)

    @property
    def _named(self) -> dict[str, Any]:
        return _named(self.file)

    def group_pieces(self, growth: float) -> Iterator[Piece]:
        """A piece for each group of a table whose rows are episodes. growth: bytes of a shard for one of the file."""
        start = 0
        for rows, size in zip(self.groups, self.bytes, strict=True):
            if rows:
                yield Piece(
                    {**self._named, "start": start, "stop": start + rows}, int(size * growth) + RECORD_BYTES * rows
                )
            start += rows
        if self.lost:
            yield self.lost


def planned(file: DataFile) -> tuple[PlannedFile, Any]:
    """(what the metadata of a file say, its schema, or None if it cannot be opened)."""
    if file.bytes is None:
        return PlannedFile(file, (), (), f"{file.path} is missing, and state.json lists it"), None
    try:
        table: TableFile = open_table(file.path)
    except ValueError as error:
        return PlannedFile(file, (), (), str(error)), None
    try:
        return PlannedFile(file, tuple(table.groups), tuple(table.bytes), table.fault), table.schema
    finally:
        table.close()


def _named(file: DataFile) -> dict[str, Any]:
    """How a piece names a file."""
    return {"uri": file.path, "bytes": file.bytes, "split": file.split, **stamped(file.bytes)}


def joined(one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any] | None:
    """One content of two whose rows follow each other, or None."""
    if "spans" in one and "spans" in two:
        last, first = one["spans"][-1], two["spans"][0]
        if (last["uri"], last["stop"]) != (first["uri"], first["start"]):
            return None
        spans = [*one["spans"][:-1], {**last, "stop": first["stop"]}, *two["spans"][1:]]
        return {**one, "count": one["count"] + two["count"], "again": [*one["again"], *two["again"]], "spans": spans}
    if "stop" in one and "stop" in two and (one["uri"], one["stop"]) == (two["uri"], two["start"]):
        return {**one, "stop": two["stop"]}
    return None


def run_pieces(files: Sequence[PlannedFile], column: str, row_bytes: float) -> list[Piece]:
    """A piece for each episode of tables whose rows are timesteps. row_bytes: of a shard, that a row makes.

    Raises SourceError if the column that numbers the episodes cannot be read in any file.
    """
    chains: list[list[PlannedFile]] = []
    for file in files:
        goes_on = chains and file.file.goes_on and file.groups and not chains[-1][-1].fault
        chains[-1:] = [[*chains[-1], file]] if goes_on else [*chains[-1:], [file]]
    found = [piece for chain in chains for piece in _chain(chain, column, row_bytes)]
    if found and all("fault" in piece.content for piece in found):
        raise SourceError(found[0].content["fault"])
    return found


def _chain(files: Sequence[PlannedFile], column: str, row_bytes: float) -> Iterator[Piece]:
    first = files[0].file
    try:
        runs = runs_of([Span(one.file.path, one.file.bytes, 0, one.rows) for one in files], column)
    except ValueError as error:
        if len(files) == 1:
            yield Piece({**_named(first), "start": 0, "fault": str(error)}, 1)
            return
        for one in files:
            yield from _chain([one], column, row_bytes)
        return
    twice = {value for value, count in Counter(run.value for run in runs).items() if count > 1}
    for run in runs:
        yield Piece(_content(run, first.split, run.value in twice), int(run.rows * row_bytes) + RECORD_BYTES)
    if files[-1].lost:
        yield files[-1].lost


def _content(run: Run, split: str, again: bool) -> dict[str, Any]:
    spans = [span.to_json() for span in run.spans]
    return {"count": 1, "split": split, "again": [str(run.value)] if again else [], "spans": spans}
