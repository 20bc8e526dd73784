"""Columns: what the columns of a table are: fields of a timestep, texts, pictures, rewards and ends of episodes."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sources.formats.field_names import path_of, root_of

WRAPPERS = ("steps", "transitions", "trajectory")  # columns whose lists hold the timesteps themselves


@dataclasses.dataclass(frozen=True)
class Column:
    """A leaf of a column: the numbers, texts or picture files in it.

    name: the column. before, after: the keys of structs that lead to it, before and after the list whose elements are
    timesteps. timed: whether there is such a list; in a table of timesteps every leaf is `timed`, by its rows. type:
    the Arrow type of a timestep, or of the whole value if it is not `timed`.
    """

    name: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    timed: bool
    listed: bool
    type: Any

    @property
    def keys(self) -> tuple[str, ...]:
        """What it is called: without the column if that only holds the timesteps."""
        wraps = self.name in WRAPPERS and self.after and not self.before
        return self.after if wraps else (self.name, *self.before, *self.after)

    @property
    def is_picture(self) -> bool:
        return is_picture_struct(self.type) or pa.types.is_binary(self.type) or pa.types.is_large_binary(self.type)

    @property
    def is_text(self) -> bool:
        return is_text(self.type)

    @property
    def is_number(self) -> bool:
        return _is_number(self.type)

    def of(self, rows: Any) -> Any:
        """Return its values in the rows of an Arrow table, an Arrow array: the timesteps of a single row, or of all
        rows in a table of timesteps.

        Raises ValueError if a list or struct around them holds no value.
        """
        values = one_array(rows.column(self.name))
        for key in self.before:
            values = _member(values, key, self.name)
        if self.listed:
            if values.null_count:
                raise ValueError(f"{'.'.join(self.keys)}: holds no value")
            values = _plain(values.flatten())
        for key in self.after:
            values = _member(values, key, self.name)
        return values


def columns_of(schema: Any, by_row: bool) -> list[Column]:
    """Describe the leaves of a schema. by_row: each row is a timestep; otherwise a row is an episode."""
    return [leaf for field in schema for leaf in _leaves(field.name, field.type, by_row)]


def _leaves(
    name: str, kind: Any, by_row: bool, before: tuple[str, ...] = (), after: tuple[str, ...] = (), listed: bool = False
) -> Iterator[Column]:
    kind = storage_of(kind)
    if pa.types.is_struct(kind) and not is_picture_struct(kind):
        for field in kind:
            outer, inner = (before, (*after, field.name)) if by_row or listed else ((*before, field.name), after)
            yield from _leaves(name, field.type, by_row, outer, inner, listed)
    elif is_list(kind) and not by_row and not listed:
        yield from _leaves(name, kind.value_type, by_row, before, after, True)
    else:
        yield Column(name, before, after, by_row or listed, listed, kind)


def paths_of(columns: Sequence[Column]) -> dict[str, Column]:
    """Return {path: column}: `observation...` of observations, `action...` of actions, and the name of what has one
    value an episode.

    `discrete_observations` is observation/discrete, `observation.state` observation/state; `continuous_actions` is the
    action if it is the only one.
    """
    found: dict[str, Column] = {}
    actions = [column for column in columns if root_of(column.keys[0])[0] == "action"]
    for column in columns:
        first, *others = column.keys
        root, rest = root_of(first)
        if root == "action" and len(actions) == 1:
            rest, others = (), []
        if not root and not column.timed:
            path = path_of(first, others)
        else:
            path = path_of(root or "observation", [*rest, *others] if root else column.keys)
        found[path if path not in found else path_of("observation", column.keys)] = column
    return found


def one_array(column: Any) -> Any:
    """A column as one array of plain values."""
    values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return _plain(values)


def _plain(values: Any) -> Any:
    """An array without an extension type or a dictionary."""
    while isinstance(values.type, pa.BaseExtensionType):
        values = values.storage
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def _member(values: Any, key: str, name: str) -> Any:
    if not pa.types.is_struct(values.type) or values.type.get_field_index(key) < 0:
        raise ValueError(f"{name}: expected a struct with {key}, got {values.type}")
    return _plain(pc.struct_field(values, key))


def storage_of(kind: Any) -> Any:
    """The Arrow type of the values of an extension type, or of a dictionary."""
    while isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def is_picture_struct(kind: Any) -> bool:
    """Whether a type is the struct {bytes, path} in which the `datasets` library keeps pictures."""
    return bool(pa.types.is_struct(kind)) and {field.name for field in kind} == {"bytes", "path"}


def is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def shape_of(values: Any) -> tuple[int, ...]:
    """The shape of a timestep's numbers, from an array of them, nested lists. Raises ValueError if it differs."""
    shape: list[int] = []
    while is_list(values.type):
        lengths = pc.unique(pc.list_value_length(values)).drop_null().to_pylist()
        if len(lengths) != 1:
            raise ValueError(f"its lists have lengths from {min(lengths, default=0)} to {max(lengths, default=0)}")
        shape.append(lengths[0])
        values = _plain(values.flatten())
    if not _is_number(values.type):
        raise ValueError(f"its values are {values.type}, no numbers")
    return tuple(shape)


def dtype_of(kind: Any) -> np.dtype[Any]:
    """The dtype of numbers in nested lists."""
    while is_list(kind):
        kind = storage_of(kind.value_type)
    found: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
    return found
