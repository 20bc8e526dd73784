"""ArrowEpisodeReader: an episode of a Minari dataset in Arrow or Parquet files, a folder of fragments."""

import contextlib
import json
import os
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
from numpy.typing import NDArray

from gato_tokenize import tuple_to_dict
from gato_tokenize.episode import FINAL_OBSERVATION
from gato_tokenize.storage.address import RemoteError, is_address
from gato_tokenize.storage.remote_file import open_file
from pipelines.sources.formats.limits import MAX_FIELD_BYTES
from pipelines.sources.formats.natural_order import natural_key
from pipelines.sources.formats.places import names_in
from pipelines.sources.minari.spaces import Box, Dict, Discrete, Text, Tuple
from pipelines.sources.minari.values import decoded_pictures, text_of_value

_READ = {
    "arrow": lambda path: pyarrow.ipc.open_file(path).read_all(),
    "parquet": lambda path: pyarrow.parquet.ParquetFile(path).read(),
}


class ArrowEpisodeReader:
    """Reads a folder `data/N`: the rows of its fragments, in their order, are T + 1 timesteps, of which the last has an
    observation alone. `notes` counts what is left out or cannot be restored.

    Raises ValueError that names what is missing, has another type or length, or is damaged.
    """

    def __init__(self, folder: str, form: str) -> None:
        self._root = f"episode_{os.path.basename(folder)}"
        self.notes: dict[str, int] = {}
        self._batch = _rows_of(folder, form)
        self.steps = len(self._batch) - 1
        if self.steps < 1:
            raise ValueError(f"{self._root}: the episode is empty: it has {len(self._batch)} rows")
        said = _total_steps(folder)
        if said is not None and said != self.steps:
            raise ValueError(f"{self._root}: has {self.steps + 1} rows, but its total_steps says {said}")
        self.rewards = self._flat("rewards")
        if not np.isfinite(self.rewards).all():
            raise ValueError(f"{self._root}/rewards: {self.rewards[~np.isfinite(self.rewards)][0]} is not finite")

    def observation(self, space: Any) -> Any:
        """Read the T observations at which the actions were taken; the last, which no action follows, is left out."""
        self.notes[FINAL_OBSERVATION] = 1
        return tuple_to_dict(self._node(self._column("observations"), space, f"{self._root}/observations"))

    def action(self, space: Any) -> Any:
        return tuple_to_dict(self._node(self._column("actions"), space, f"{self._root}/actions"))

    def ended(self, by: str) -> bool:
        """Return the last of the `terminations` or `truncations`."""
        return bool(self._flat(by)[-1])

    def success(self) -> int:
        """Return 1 if any step's info sets `success` (or `is_success`), 0 if none does, -1 if there is no such info."""
        infos = self._batch.column("infos") if "infos" in self._batch.schema.names else None
        for key in ("success", "is_success"):
            if infos is not None and pa.types.is_struct(infos.type) and infos.type.get_field_index(key) >= 0:
                values = infos.field(key).to_numpy(zero_copy_only=False)
                if values.dtype.kind in "biuf":
                    return int((values[np.isfinite(values)] > 0).any())
        return -1

    def _column(self, key: str) -> Any:
        """The first T rows of a column."""
        if key not in self._batch.schema.names:
            raise ValueError(f"{self._root}/{key}: missing")
        return self._batch.column(key).slice(0, self.steps)

    def _flat(self, key: str) -> NDArray[Any]:
        """Read a column of one number a timestep."""
        return _numbers(self._column(key), (), f"{self._root}/{key}")

    def _node(self, node: Any, space: Any, path: str) -> Any:
        if isinstance(space, Dict | Tuple):
            keys = list(space.spaces) if isinstance(space, Dict) else [str(i) for i in range(len(space.spaces))]
            members = space.spaces.values() if isinstance(space, Dict) else space.spaces
            found = [node.type.field(i).name for i in range(node.type.num_fields)] if _is_struct(node) else None
            if found is None or sorted(found) != sorted(keys):
                has = f"those of {sorted(found)}" if found is not None else str(node.type)
                raise ValueError(f"{path}: expected a struct with {keys}, got {has}")
            read = [
                self._node(node.field(key), member, f"{path}/{key}") for key, member in zip(keys, members, strict=True)
            ]
            return dict(zip(keys, read, strict=True)) if isinstance(space, Dict) else tuple(read)
        if node.null_count:
            raise ValueError(f"{path}: {node.null_count} of {len(node)} values are missing")
        if isinstance(space, Text):
            return [text_of_value(value, f"{path}[{i}]") for i, value in enumerate(node.to_pylist())]
        if isinstance(space, Box) and (pa.types.is_binary(node.type) or pa.types.is_large_binary(node.type)):
            return decoded_pictures(node.to_pylist(), space, path, self.notes)
        return _numbers(node, () if isinstance(space, Discrete) else _shape(space), path)


def _is_struct(node: Any) -> bool:
    return bool(pa.types.is_struct(node.type))


def _shape(space: Any) -> tuple[int, ...]:
    return tuple(space.nvec.shape if hasattr(space, "nvec") else space.shape)


def _numbers(node: Any, shape: tuple[int, ...], path: str) -> NDArray[Any]:
    """The numbers of an array with a value a timestep, or with a list of as many numbers as `shape` has elements."""
    rows, size = len(node), int(np.prod(shape, dtype=object))
    values = node.flatten() if shape and isinstance(node, pa.FixedSizeListArray | pa.ListArray) else node
    ragged = isinstance(node, pa.ListArray) and bool(
        (node.value_lengths().to_numpy(zero_copy_only=False) != size).any()
    )
    kind = values.type
    plain = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    if not plain or ragged or len(values) != rows * size or node.null_count or values.null_count:
        what = f"{size} numbers" if shape else "a number"
        raise ValueError(f"{path}: expected {what} a timestep, got {node.type} with {node.null_count} values missing")
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(rows, *shape)


def fragments(folder: str, form: str) -> list[str]:
    """The files of an episode, part-2 before part-10. Raises ValueError if there is none."""
    try:
        names = names_in(folder)
    except RemoteError:
        raise
    except OSError as error:
        raise ValueError(f"the episode is missing: {error.strerror}") from error
    found = [name for name in names if name[0] not in "_." and name.endswith(f".{form}")]
    if not found:
        raise ValueError(f"no .{form} file is there")
    return [os.path.join(folder, name) for name in sorted(found, key=natural_key)]


def _rows_of(folder: str, form: str) -> Any:
    """All rows of an episode as one batch."""
    tables, size = [], 0
    for path in fragments(folder, form):
        try:
            with contextlib.ExitStack() as stack:
                file = stack.enter_context(open_file(path)) if is_address(path) else path
                tables.append(
                    pyarrow.ipc.open_file(file).read_all() if form == "arrow" else pyarrow.parquet.read_table(file)
                )
            tables[-1].validate(full=True)
        except RemoteError:
            raise
        except (pa.ArrowException, OSError, ValueError) as error:
            raise ValueError(f"{os.path.basename(path)} is damaged: {error}") from error
        size += tables[-1].nbytes
        if size > MAX_FIELD_BYTES:
            raise ValueError(f"the episode has more than {MAX_FIELD_BYTES} bytes: split it")
    try:
        batches = pa.concat_tables(tables).combine_chunks().to_batches()
    except pa.ArrowException as error:
        raise ValueError(f"the fragments differ in their types: {error}") from error
    if len(batches) != 1:
        raise ValueError("the episode has no rows")
    return batches[0]


def _total_steps(folder: str) -> int | None:
    """What the episode's metadata.json says; None if it says nothing."""
    try:
        with open_file(os.path.join(folder, "metadata.json")) as file:
            said = json.load(file).get("total_steps")
    except FileNotFoundError:
        return None
    except RemoteError:
        raise
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"metadata.json cannot be read: {error}") from error
    return said if isinstance(said, int) else None
