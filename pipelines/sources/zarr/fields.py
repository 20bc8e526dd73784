"""ReplayFields: what the metadata of a replay buffer and its first rows say of the fields and the episodes."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_tokenize.array_spaces import Box, PictureFiles, Text
from gato_tokenize.spec import join_path
from pipelines.sources.step_fields import StepFields, many_numbers
from pipelines.sources.zarr.rows import ArrayRows, native
from pipelines.sources.zarr.store import UnfitError, ZarrStore

LOOK_ROWS = 10_000  # of an array of numbers that are looked at for its range
LOOK_PICTURES = 16
REWARD, DONE = ("reward", "rewards"), ("done", "dones", "terminal", "terminals")
INSTRUCTIONS = ("language_instruction", "instruction", "language", "task_description")
NEVER = {
    **dict.fromkeys(("timestamp", "timestamps"), "it says when a timestep was recorded"),
    **dict.fromkeys(DONE, "it says where an episode ends"),
}
LEAST_SIDE = 16  # of a picture


@dataclasses.dataclass(frozen=True, eq=False)
class ReplayFields:
    """What planning finds.

    ends: int64[E], the row after the last of each episode. rows: of the action, or of the longest array if it has
    another name. spaces, unreadable: see `StepFields`. names: {path of a field: the name of its array below `data`}.
    pixels: the fields of floats whose values are those of pixels. reward, done: names of arrays; "" if there are none.
    """

    ends: NDArray[np.int64]
    rows: int
    spaces: Mapping[str, Any]
    names: Mapping[str, str]
    unreadable: Mapping[str, str]
    pixels: frozenset[str]
    reward: str
    done: str

    @property
    def step_fields(self) -> StepFields:
        apart = many_numbers(self.spaces)
        apart |= {path: NEVER[name] for path, name in self.names.items() if name in NEVER}
        instruction = next((path for name in INSTRUCTIONS if (path := _path_of(name)) in self.spaces), "")
        return StepFields(self.spaces, instruction, apart, self.unreadable)


def read_fields(store: ZarrStore) -> ReplayFields:
    """Look into a store; of `data` only the first rows are read. Raises ValueError naming what is wrong."""
    names = store.members("data")
    if not names or "episode_ends" not in store.members("meta"):
        there = ", ".join(store.members()[:8]) or "nothing"
        raise ValueError(f"it is no replay buffer: it lacks arrays in data, or meta/episode_ends; it has {there}")
    ends = _ends(store)
    spaces: dict[str, Any] = {}
    unreadable: dict[str, str] = {}
    pixels, lengths = set(), {}
    for name in names:
        if name in REWARD:
            continue
        try:
            array = store.array("data", name)
            found = _space(store, array, f"data/{name}")
            spaces[_path_of(name)], lengths[name] = found[0], int(array.shape[0])
            pixels |= {_path_of(name)} if found[1] else set()
        except UnfitError as error:
            unreadable[_path_of(name)] = str(error).partition(": ")[2]
    return ReplayFields(
        ends,
        lengths.get("action", max(lengths.values(), default=0)),
        spaces,
        {_path_of(name): name for name in lengths},
        unreadable,
        frozenset(pixels),
        next((name for name in REWARD if name in names), ""),
        next((name for name in DONE if name in names), ""),
    )


def _path_of(name: str) -> str:
    return "action" if name == "action" else join_path("observation", name)


def _ends(store: ZarrStore) -> NDArray[np.int64]:
    array = store.array("meta", "episode_ends")
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise ValueError(f"meta/episode_ends: expected whole numbers, got {array.dtype}{list(array.shape)}")
    if not array.shape[0]:
        raise ValueError("meta/episode_ends is empty: there is no episode")
    ends = ArrayRows(store, array, "meta/episode_ends", False).read(0, array.shape[0]).astype(np.int64)
    if (np.diff(ends, prepend=0) < 0).any():
        number = int(np.flatnonzero(np.diff(ends, prepend=0) < 0)[0])
        raise ValueError(f"meta/episode_ends: {ends[number]} of episode {number} is below the one before it")
    return np.asarray(ends)


def _space(store: ZarrStore, array: Any, path: str) -> tuple[Any, bool]:
    """(the space of a field of a timestep, whether its floats are pixels). Raises UnfitError if there is none."""
    if not array.ndim:
        raise UnfitError(f"{path}: expected an array with a time axis")
    if array.dtype.kind in "OUT" and array.ndim == 1:
        return Text(), False
    if array.dtype.kind not in "fiub":
        raise UnfitError(f"{path}: its values are {array.dtype}, no numbers")
    shape, dtype = tuple(map(int, array.shape[1:])), native(array.dtype)
    if 0 in shape:
        raise UnfitError(f"{path}: an array without elements")
    picture = len(shape) == 3 and shape[2] == 3 and min(shape[:2]) >= LEAST_SIDE
    if picture and dtype == np.uint8:
        return PictureFiles(shape), False
    if picture and dtype.kind == "f" and _are_pixels(_first_rows(store, array, path, LOOK_PICTURES)):
        return PictureFiles(shape), True
    if len(shape) > 1:
        return Box(shape, dtype), False
    first = _first_rows(store, array, path, LOOK_ROWS)
    return Box(shape, dtype) if first is None else Box.seen_in([first]), False


def _first_rows(store: ZarrStore, array: Any, path: str, most: int) -> NDArray[Any] | None:
    """The rows that are looked at; None if they are damaged: episodes that need them become rejects."""
    try:
        return np.asarray(ArrayRows(store, array, path, True).read(0, min(most, array.shape[0])))
    except Exception:  # each codec raises errors of its own
        return None


def _are_pixels(values: NDArray[Any] | None) -> bool:
    """Whether floats are whole numbers in [0, 255], some above 1."""
    return values is not None and are_bytes(values) and bool((values > 1).any())


def are_bytes(values: NDArray[Any]) -> bool:
    """Whether each value is one of 0, 1, ... 255."""
    return bool(((values >= 0) & (values <= 255) & (values == np.floor(values))).all())
