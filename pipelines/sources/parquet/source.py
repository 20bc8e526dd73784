"""ParquetSource: Parquet and Arrow files, as the `datasets` library writes them: episodes, documents or pictures."""

import functools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gato_tokenize import Episode, EpisodeMetadata, EpisodeSpec
from gato_tokenize.storage.address import full
from pipelines.sources.errors import SourceError
from pipelines.sources.formats.files import names_and_sizes
from pipelines.sources.on_disk import OnDisk
from pipelines.sources.options import parse_options
from pipelines.sources.parquet.columns import Column, columns_of
from pipelines.sources.parquet.episode import RowEpisodes
from pipelines.sources.parquet.fields import TableFields, checked_columns, read_fields
from pipelines.sources.parquet.files import SUFFIXES, DataFiles, find_files
from pipelines.sources.parquet.options import ParquetOptions
from pipelines.sources.parquet.plan import PlannedFile, joined, planned, run_pieces
from pipelines.sources.parquet.rows import BATCH_BYTES, TableRows, concatenated
from pipelines.sources.parquet.runs import Run, Span, runs_of
from pipelines.sources.parquet.samples import Samples, samples_of
from pipelines.sources.pieces import Piece, pack, step_bytes
from pipelines.sources.source import Candidate, Source
from pipelines.sources.step_reading import StepReading

LOOK, LOOK_ROWS = 4, 1000  # episodes, or timesteps, that are looked at for shapes and ranges
TRIES = 16  # rows that are tried, if some are damaged


class ParquetSource(Source):
    """`parquet:jat/atari-pong`, `parquet:data/train-*.parquet`, `parquet:saved`, `parquet:steps.parquet?episode=id`.

    A row is an episode, called "data/train-00000-of-00002.parquet#17" by its file and number. With `episode=COLUMN` a
    row is a timestep, and an episode is called by its value in that column. Rows without actions are documents,
    pictures with captions, or questions about pictures. Partitions are row groups and record batches.
    """

    Options = ParquetOptions
    reads_addresses = True
    looks_for = "files called .parquet, .arrow or .feather"
    by_endings = True

    def __init__(self, argument: str, options: dict[str, str]) -> None:
        self._argument, self._options = full(argument), parse_options(ParquetOptions, options)

    @classmethod
    def recognises(cls, lying: OnDisk) -> str | None:
        files = lying.ending(*SUFFIXES)
        listed = {path for path in files if os.path.exists(f"{os.path.splitext(path)[0]}.tar")}  # by img2dataset
        return lying.path if set(files) - listed else None

    @functools.cached_property
    def _found(self) -> DataFiles:
        return find_files(self._argument)

    @functools.cached_property
    def _splits(self) -> dict[str, str]:
        """{split of the files: its name here} of those that are read."""
        return self._options.splits_of(self._found.splits)

    def _split(self, name: str) -> str:
        """The split here of a file's; "" if no file has one."""
        return self._splits[name or "train"] if self._found.splits else ""

    @functools.cached_property
    def _files(self) -> tuple[list[PlannedFile], Any, str]:
        """(the files that are read, the schema of the first that can be opened, its path)."""
        wanted = [one for one in self._found.files if not self._splits or (one.split or "train") in self._splits]
        files, schema, path = [], None, ""
        for one in wanted:
            file, said = planned(one)
            files.append(file)
            if schema is None and said is not None:
                schema, path = said, one.path
        if schema is None:
            raise SourceError(files[0].fault)
        checked_columns(schema, [self._options.episode] if self._options.episode else [], path)
        return files, schema, path

    @functools.cached_property
    def _columns(self) -> list[Column]:
        return columns_of(self._files[1], bool(self._options.episode))

    @functools.cached_property
    def _samples(self) -> Samples | None:
        lists = any(column.timed and not column.is_picture for column in self._columns)
        if (lists or self._options.episode or self._options.action) and not self._options.column:
            return None
        return samples_of(self._columns, self._options)

    @functools.cached_property
    def _fields(self) -> TableFields:
        files, schema, _ = self._files
        faults = [one.fault for one in files if one.fault]
        look = _first_steps if self._options.episode else _first_rows
        rows = list(look(files, schema, faults))
        if not rows:
            raise SourceError(faults[0] if faults else f"{self._argument}: no row can be read")
        return read_fields(schema, rows, self._options)

    @functools.cached_property
    def _reading(self) -> StepReading:
        return StepReading(self._fields.step_fields, self._options)

    @property
    def _task(self) -> str:
        return self._options.task_of(self._found.name)

    def specs(self) -> dict[str, EpisodeSpec]:
        return {self._task: self._samples.spec if self._samples else self._reading.spec}

    def reasons(self) -> dict[str, Mapping[str, str]]:
        return {self._task: self._samples.reasons() if self._samples else self._reading.reasons}

    def readings(self) -> Mapping[str, StepReading]:
        return {} if self._samples else {self._task: self._reading}

    def notes(self) -> list[str]:
        found = self._samples.notes(self._columns) if self._samples else self._reading.notes
        return [*self._found.notes, *found]

    def splits(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._splits.values()))

    def split_counts(self, partition: dict[str, Any]) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for piece in partition["pieces"]:
            counts[self._split(piece["split"]) or "train"] += _count(piece)
        return counts

    def inputs(self) -> list[dict[str, Any]]:
        found = ((one.file.path, one.file.bytes, one.rows) for one in self._files[0])
        return [names_and_sizes(self._argument, found)]

    def partitions(self) -> list[dict[str, Any]]:
        """{"count", "pieces"}: each a range of rows of a file, {"uri", "bytes", "split", "start", "stop"}; what is lost
        of one, with "fault"; or episodes of timesteps, {"count", "split", "again", "spans"}."""
        groups = pack(self._pieces, self.shard_bytes, joined)
        return [{"count": sum(map(_count, group)), "pieces": group} for group in groups]

    @functools.cached_property
    def _pieces(self) -> list[Piece]:
        files = self._files[0]
        if self._samples:
            return [piece for one in files for piece in one.group_pieces(self._samples.growth)]
        each = step_bytes(self._reading.spec)
        if self._options.episode:
            return run_pieces(files, self._options.episode, each)
        growth = each * self._fields.steps / max(1, self._fields.bytes)
        return [piece for one in files for piece in one.group_pieces(growth)]

    def candidates(self, partition: dict[str, Any]) -> Iterator[Candidate]:
        reader = _Reader(self._make, self._names)
        try:
            for piece in partition["pieces"]:
                yield from self._candidates(piece, reader)
        finally:
            reader.close()

    def _candidates(self, piece: dict[str, Any], reader: "_Reader") -> Iterator[Candidate]:
        split = self._split(piece["split"])
        if "spans" in piece:
            for run in runs_of(
                [Span.of(span, span["start"], span["stop"]) for span in piece["spans"]], self._options.episode
            ):
                yield self._run(run, str(run.value) in piece["again"], split, reader)
            return
        for row in range(piece["start"], piece.get("stop", piece["start"] + 1)):
            metadata = self._metadata(f"{piece['uri']}#{row}", piece["uri"], row)
            span = Span.of(piece, row, row + 1)
            load = functools.partial(reader.episode, metadata, (span,), piece.get("fault", ""))
            yield Candidate(metadata.episode_id, piece["uri"], row, load, split)

    def _run(self, run: Run, again: bool, split: str, reader: "_Reader") -> Candidate:
        """The candidate of an episode of timesteps."""
        first = run.spans[0]
        name = f"{first.uri}#{run.value}" + (f"@{first.start}" if again or run.value is None else "")
        fault = ""
        if again:
            fault = f"{first.uri}: the rows of episode {run.value} are not next to each other: sort the table"
        if run.value is None:
            rows = f"{first.uri}: {run.rows} rows from row {first.start}"
            fault = f"{rows} are of no episode: {self._options.episode} is null"
        load = functools.partial(reader.episode, self._metadata(name, first.uri, first.start), run.spans, fault)
        return Candidate(name, first.uri, first.start, load, split)

    def _metadata(self, name: str, uri: str, row: int) -> EpisodeMetadata:
        domain = self._samples.domain if self._samples else "parquet"
        return EpisodeMetadata(name, domain, self._task, source_uri=uri, source_index=row)

    @functools.cached_property
    def _rows(self) -> RowEpisodes:
        return RowEpisodes(self._fields, self._reading, bool(self._options.episode))

    @property
    def _names(self) -> list[str]:
        """The columns to read."""
        return self._samples.names if self._samples else self._rows.names

    @property
    def _make(self) -> Callable[[Any, EpisodeMetadata], Episode]:
        return self._samples.episode if self._samples else self._rows.episode


class _Reader:
    """A file that stays open from one episode to the next, because several lie in one group of rows."""

    def __init__(self, make: Callable[[Any, EpisodeMetadata], Episode], columns: list[str]) -> None:
        self._make, self._columns = make, columns
        self._rows: TableRows | None = None

    def close(self) -> None:
        if self._rows is not None:
            self._rows.close()

    def episode(self, metadata: EpisodeMetadata, spans: tuple[Span, ...], fault: str) -> Episode:
        if fault:
            raise ValueError(fault)
        parts = [self._opened(span).read(span.start, span.stop) for span in spans]
        try:
            return self._make(concatenated(parts), metadata)
        except ValueError as error:
            raise ValueError(f"{metadata.source_uri}, row {metadata.source_index}: {error}") from error

    def _opened(self, span: Span) -> TableRows:
        if self._rows is None or self._rows.path != span.uri:
            self.close()
            self._rows = TableRows(span.uri, span.bytes, self._columns)
        return self._rows


def _count(piece: dict[str, Any]) -> int:
    return int(piece["count"]) if "count" in piece else int(piece.get("stop", piece["start"] + 1)) - int(piece["start"])


def _first_rows(files: list[PlannedFile], schema: Any, faults: list[str]) -> Iterator[Any]:
    """The first rows that can be read, one by one; adds why others cannot."""
    found = tried = 0
    for one in files:
        rows = TableRows(one.file.path, one.file.bytes, schema.names)
        try:
            for row in range(min(one.rows, TRIES)):
                if found == LOOK or tried == TRIES:
                    return
                tried += 1
                try:
                    yield rows.read(row, row + 1)
                    found += 1
                except ValueError as error:
                    faults.append(str(error))  # it becomes a reject
        finally:
            rows.close()


def _first_steps(files: list[PlannedFile], schema: Any, faults: list[str]) -> Iterator[Any]:
    """The first timesteps of the first file whose rows can be read; adds why those of others cannot."""
    for one in files:
        if not one.rows:
            continue
        rows = TableRows(one.file.path, one.file.bytes, schema.names)
        fitting = max(1, BATCH_BYTES * one.rows // max(1, sum(one.bytes)))
        try:
            yield rows.read(0, min(LOOK_ROWS, one.rows, fitting))
            return
        except ValueError as error:
            faults.append(str(error))  # its episodes become rejects
        finally:
            rows.close()
