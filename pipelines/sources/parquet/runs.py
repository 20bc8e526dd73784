"""Runs: the episodes of tables in which each row is a timestep: neighbouring rows of one value of a column."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sources.formats.places import Size, stamped
from pipelines.sources.parquet.columns import one_array
from pipelines.sources.parquet.rows import TableRows


@dataclasses.dataclass(frozen=True)
class Span:
    """The rows [start, stop) of a file."""

    uri: str
    bytes: Size | None
    start: int
    stop: int

    @classmethod
    def of(cls, piece: Mapping[str, Any], start: int, stop: int) -> "Span":
        """Some rows of the file that a piece names."""
        size = piece["bytes"]
        return cls(piece["uri"], None if size is None else Size(size, piece.get("stamp", "")), start, stop)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | stamped(self.bytes)


@dataclasses.dataclass(frozen=True)
class Run:
    """An episode: its value in the column, and its rows, in one file or in several that go on in each other."""

    value: Any
    spans: tuple[Span, ...]

    @property
    def rows(self) -> int:
        return sum(span.stop - span.start for span in self.spans)


def runs_of(spans: Sequence[Span], column: str) -> list[Run]:
    """The runs in rows that follow each other, in order.

    Raises ValueError naming a file whose column cannot be read.
    """
    found: list[Run] = []
    for span in spans:
        for number, run in enumerate(_runs_in(span, column)):
            if not number and found and found[-1].value == run.value:
                found[-1] = Run(run.value, (*found[-1].spans, *run.spans))
            else:
                found.append(run)
    return found


def _runs_in(span: Span, column: str) -> Iterator[Run]:
    if span.start == span.stop:
        return
    rows = TableRows(span.uri, span.bytes, [column])
    try:
        values = one_array(rows.read(span.start, span.stop).column(column))
        encoded = pc.run_end_encode(values)
    except pa.ArrowException as error:
        raise ValueError(f"{span.uri}: the column {column} is {values.type}, and numbers no episodes") from error
    finally:
        rows.close()
    start, ends = span.start, zip(encoded.values.to_pylist(), encoded.run_ends.to_pylist(), strict=True)
    for value, group in itertools.groupby(ends, key=lambda pair: pair[0]):  # pyarrow gives each null a run of its own
        *_, (_, end) = group
        yield Run(value, (dataclasses.replace(span, start=start, stop=span.start + end),))
        start = span.start + end
