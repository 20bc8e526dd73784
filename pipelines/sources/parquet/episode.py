"""RowEpisodes: the rows of a table to an `Episode`."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_tokenize import Episode, EpisodeMetadata
from gato_tokenize.array_spaces import PictureFiles, Text
from pipelines.sources.formats.parquet import files_of, numbers_of, texts_of
from pipelines.sources.parquet.columns import Column
from pipelines.sources.parquet.fields import TableFields
from pipelines.sources.step_reading import StepReading


class Slice:
    """The values of a field, an Arrow array, which are converted where they are sliced."""

    def __init__(self, values: Any, convert: Callable[[Any], Any]) -> None:
        self._values, self._convert = values, convert

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, rows: slice) -> Any:
        return self._convert(self._values[rows])


class RowEpisodes:
    """Makes the episodes of a table by its `fields` and `reading`.

    names: the columns that it needs. by_row: whether each row is a timestep.
    """

    def __init__(self, fields: TableFields, reading: StepReading, by_row: bool) -> None:
        self._fields, self._reading = fields, reading
        needed = [fields.columns[path] for path in reading.places.values()]
        needed += [column for column in (fields.reward, fields.done, fields.success) if column]
        self._step = fields.step if by_row else None
        needed += [self._step] if self._step else []
        self.names = list(dict.fromkeys(column.name for column in needed))

    def episode(self, rows: Any, metadata: EpisodeMetadata) -> Episode:
        """Make an episode of an Arrow table: one row, or its timesteps.

        Raises ValueError naming the column at fault.
        """
        fields = self._fields
        arrays = {path: self._values(path, rows) for path in self._reading.places.values()}
        if self._step and (np.diff(_numbers(self._step, rows)) <= 0).any():
            raise ValueError(f"{self._step.name} does not ascend: rows are out of order, or there twice")
        rewards = _numbers(fields.reward, rows) if fields.reward else None
        if fields.done:
            done = _numbers(fields.done, rows)
            metadata = dataclasses.replace(metadata, terminated=bool(len(done) and done[-1]))
        if fields.success:
            metadata = dataclasses.replace(metadata, success=int(_numbers(fields.success, rows).any()))
        return self._reading.episode(arrays, metadata, rewards)

    def _values(self, path: str, rows: Any) -> Any:
        column, space = self._fields.columns[path], self._fields.spaces[path]
        values = column.of(rows)
        if not column.timed and isinstance(space, Text):
            return texts_of(values, path)[0]
        return Slice(values, _converter(space, path))


def _converter(space: Any, path: str) -> Callable[[Any], Any]:
    if isinstance(space, Text):
        return functools.partial(texts_of, name=path)
    if isinstance(space, PictureFiles):
        return functools.partial(_pictures, path=path)
    return functools.partial(numbers_of, shape=space.shape, name=path)


def _pictures(values: Any, path: str) -> list[bytes]:
    try:
        return files_of(values, path)
    except ValueError as error:
        kept = values.field("path").drop_null() if values.type.num_fields and not values.null_count else []
        if not len(kept):
            raise
        raise ValueError(
            f"{error}, but the path {kept[0]}: the pictures lie elsewhere; write the table anew with their bytes, as"
            " `save_to_disk` and `to_parquet` of `datasets` do"
        ) from error


def _numbers(column: Column, rows: Any) -> NDArray[Any]:
    """One number or flag for each timestep, or for the episode."""
    return numbers_of(column.of(rows), (), ".".join(column.keys))
