"""TableFields: what the schema of a table and its first rows say of the fields, or of the samples in it."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from gato_tokenize.array_spaces import Box, PictureFiles, Text
from gato_tokenize.boxes import UNBOUNDED_SIZE
from gato_tokenize.modalities.picture_file import open_picture
from pipelines.sources.episode_options import listed
from pipelines.sources.errors import SourceError
from pipelines.sources.formats.field_names import DONE, NEVER, REWARD, STEP, SUCCESS, named_step_fields
from pipelines.sources.formats.parquet import files_of, numbers_of
from pipelines.sources.parquet.columns import Column, columns_of, dtype_of, paths_of, shape_of
from pipelines.sources.parquet.options import ParquetOptions
from pipelines.sources.step_fields import StepFields


@dataclasses.dataclass(frozen=True)
class TableFields:
    """columns: {path of a field: its column}. spaces, unreadable: see `StepFields`; apart: as there, but for what has
    too many numbers. reward, done, success, step: columns of these, or None. steps: timesteps in the rows that were
    looked at, whose bytes are `bytes`."""

    columns: Mapping[str, Column]
    spaces: Mapping[str, Any]
    apart: Mapping[str, str]
    unreadable: Mapping[str, str]
    reward: Column | None
    done: Column | None
    success: Column | None
    step: Column | None
    steps: int
    bytes: int

    @property
    def step_fields(self) -> StepFields:
        return named_step_fields(self.spaces, self.apart, self.unreadable)


def read_fields(schema: Any, rows: Sequence[Any], options: ParquetOptions) -> TableFields:
    """Describe the fields by the schema and the first rows, Arrow tables of one row each, or of timesteps.

    Raises SourceError if the column that `episode=` names is missing.
    """
    by_row = bool(options.episode)
    columns = [column for column in columns_of(schema, by_row) if not by_row or column.keys != (options.episode,)]
    reward, done, success, step = (_named(columns, names) for names in (REWARD, DONE, SUCCESS, STEP))
    paths = {path: column for path, column in paths_of(columns).items() if column is not reward}
    values = {path: [_values(column, one) for one in rows] for path, column in paths.items()}
    asked = listed(options.action)
    lengths = [] if by_row else _lengths(values, asked or ["action"])
    classes = classes_of(schema)
    spaces: dict[str, Any] = {}
    unreadable: dict[str, str] = {}
    apart: dict[str, str] = {}
    for path, column in paths.items():
        try:
            spaces[path] = _space(
                column, [one for one in values[path] if one is not None], path, classes.get(column.name, 0)
            )
            if lengths and column.timed and path not in asked:
                _check_lengths(values[path], lengths)
            if column.keys[-1] in NEVER or ".".join(column.keys) in NEVER:
                apart[path] = NEVER.get(column.keys[-1]) or NEVER[".".join(column.keys)]
            elif not column.timed:
                apart[path] = f"instruction={path} makes it the instruction"
        except ValueError as error:
            spaces.pop(path, None)
            unreadable[path] = str(error)
    steps = sum(one.num_rows for one in rows) if by_row else sum(lengths)
    return TableFields(
        paths, spaces, apart, unreadable, reward, done, success, step, steps, sum(one.nbytes for one in rows)
    )


def _named(columns: Sequence[Column], names: Sequence[str]) -> Column | None:
    """The first column of one of these names that holds one number or flag a timestep, or for the whole episode."""
    fitting = {".".join(column.keys): column for column in columns if column.is_number}
    return next((fitting[name] for name in names if name in fitting), None)


def _values(column: Column, rows: Any) -> Any:
    """The values of a column in one row, or None if there are none."""
    try:
        return column.of(rows)
    except (ValueError, pa.ArrowException):
        return None


def _lengths(values: Mapping[str, Sequence[Any]], groups: Sequence[str]) -> list[int]:
    """The number of actions in each row, by the first field of `groups`; [] if there is none."""
    actions = [found for path, found in values.items() if path in groups or path.startswith(f"{groups[0]}/")]
    return [len(one) for one in actions[0] if one is not None] if actions else []


def _check_lengths(values: Sequence[Any], lengths: Sequence[int]) -> None:
    """Raise ValueError unless a field has a value for each action in one of the rows, or one more."""
    found = [len(one) for one in values if one is not None]
    pairs = list(zip(found, lengths, strict=False))
    if pairs and not any(length in (steps, steps + 1) for length, steps in pairs):
        raise ValueError(f"it has {pairs[0][0]} values, where there are {pairs[0][1]} actions")


def _space(column: Column, values: Sequence[Any], path: str, classes: int) -> Any:
    """The space of a field. classes: how many the column has, 0 if it holds no classes.

    Raises ValueError if there is none, saying why.
    """
    if column.is_text:
        return Text()
    if not column.timed and not column.is_picture:
        raise ValueError(f"it has one value an episode, {column.type}, and none for each timestep")
    whole = [one.drop_null() for one in values if len(one) > one.null_count]
    if not whole or pa.types.is_null(column.type):
        raise ValueError("it holds no value in the first rows")
    if column.is_picture:
        return PictureFiles(_picture_shape(whole[0]))
    shape, fitting = _usual(whole)
    if 0 in shape:
        raise ValueError("its lists are empty")
    dtype = dtype_of(column.type)
    if not classes and any(key.startswith("discrete_") for key in column.keys):
        classes = UNBOUNDED_SIZE
    if classes and dtype.kind in "iu":
        return Box(shape, dtype, np.zeros(shape, np.int64), np.full(shape, classes - 1))
    return Box.seen_in([numbers_of(one, shape, path).astype(dtype, copy=False) for one in fitting])


def _usual(values: Sequence[Any]) -> tuple[tuple[int, ...], list[Any]]:
    """(the shape of a timestep in most rows, the values of that shape). Raises ValueError if there is none."""
    shapes: list[tuple[int, ...]] = []
    fault: ValueError | None = None
    for one in values:
        try:
            shapes.append(shape_of(one))
        except ValueError as error:
            fault = error
    most = max(shapes, key=shapes.count, default=())
    if fault is not None and (not shapes or len(shapes) <= len(values) / 2):
        raise fault
    if shapes.count(most) <= len(values) / 2:
        raise ValueError(f"its values have the shapes {sorted(map(list, set(shapes)))} in the first rows")
    return most, [one for one in values if _has_shape(one, most)]


def _has_shape(values: Any, shape: tuple[int, ...]) -> bool:
    """Whether all timesteps of a row have numbers of this shape."""
    try:
        numbers_of(values, shape, "")
    except ValueError:
        return False
    return True


def _picture_shape(values: Any) -> tuple[int, int, int]:
    """[height, width, 3] of the first picture."""
    width, height = open_picture(files_of(values[:1], "its first picture")[0]).size
    return height, width, 3


def classes_of(schema: Any) -> dict[str, int]:
    """{column: number of classes} of those whose values are a ClassLabel, as the `datasets` library notes it."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: count for name, said in features.items() if (count := _classes(said))}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _classes(feature: Any) -> int:
    while isinstance(feature, dict) and feature.get("_type") in ("List", "LargeList", "Sequence"):
        feature = feature["feature"]
    return len(feature["names"]) if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" else 0


def checked_columns(schema: Any, names: Sequence[str], path: str) -> None:
    """Raise SourceError if a column that an option names is missing."""
    for name in names:
        if name not in schema.names:
            raise SourceError(f"{path} has no column {name}; columns: {', '.join(schema.names)}")
