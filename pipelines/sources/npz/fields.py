"""SetFields: what the first files and their first rows say of the fields."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gato_tokenize.array_spaces import Box, PictureFiles, Text
from gato_tokenize.storage.address import RemoteError
from pipelines.sources.episode_options import listed
from pipelines.sources.errors import SourceError
from pipelines.sources.formats.field_names import DONE, NEVER, REWARD, SUCCESS, named_step_fields, path_of, root_of
from pipelines.sources.formats.npy import Header
from pipelines.sources.npz.array_set import ArraySet
from pipelines.sources.npz.options import NpzOptions
from pipelines.sources.step_fields import StepFields

TRUNCATED = ("truncated", "truncations", "timeouts", "timeout")
FLAGS = "it says where an episode ends"
LEAST_SIDE = 16  # of a picture


@dataclasses.dataclass(frozen=True)
class SetFields:
    """names: {path of a field: its array}. spaces, apart, unreadable: see `StepFields`. reward, done, truncated,
    success: arrays of these, "" if there are none. steps: the timesteps of the sets that were looked at, whose size is
    `bytes`."""

    names: Mapping[str, str]
    spaces: Mapping[str, Any]
    apart: Mapping[str, str]
    unreadable: Mapping[str, str]
    reward: str
    done: str
    truncated: str
    success: str
    steps: int
    bytes: int

    @property
    def step_fields(self) -> StepFields:
        return named_step_fields(self.spaces, self.apart, self.unreadable)


def read_fields(sets: Sequence[tuple[ArraySet, int]], ends: str, options: NpzOptions, look: int) -> SetFields:
    """Describe the fields of the first set, with the values in the first `look` rows of each of them.

    sets: each with its bytes. ends: the array that says where episodes end, which is no field; "" if a set is an
    episode.

    Raises SourceError if the action cannot be read, for example because it holds pickled objects, or nothing can.
    """
    first = sets[0][0]
    headers = {name: header for name, header in first.headers.items() if name != ends}
    reward, done, truncated, success = (
        next((name for name in names if name in first.headers), "") for names in (REWARD, DONE, TRUNCATED, SUCCESS)
    )
    paths = paths_of([name for name in (*headers, *first.unreadable) if name != reward])
    steps = steps_of(first, options, ends)
    spaces: dict[str, Any] = {}
    apart: dict[str, str] = {}
    unreadable = {path: first.unreadable[name] for path, name in paths.items() if name in first.unreadable}
    for path, name in paths.items():
        if name not in headers:
            continue
        try:
            spaces[path] = _space([one for one, _ in sets], name, look)
            _check_length(headers[name], steps, path in listed(options.action))
        except ValueError as error:
            spaces.pop(path, None)
            unreadable[path] = f"{error}"
        key = name.rpartition("/")[2]
        if key in NEVER or key in TRUNCATED:
            apart[path] = NEVER.get(key, FLAGS)
        elif not headers[name].shape:
            apart[path] = f"instruction={path} makes it the instruction"
    lost = [path for path in unreadable if path.split("/")[0] == "action" or not spaces]
    if lost and not options.action and not any(path.split("/")[0] == "action" for path in spaces):
        raise SourceError(f"{first.path}: {paths[lost[0]]}: {unreadable[lost[0]]}")
    total = sum(steps_of(one, options, ends) for one, _ in sets)
    return SetFields(
        paths, spaces, apart, unreadable, reward, done, truncated, success, total, sum(size for _, size in sets)
    )


def paths_of(names: Sequence[str]) -> dict[str, str]:
    """Return {path of a field: name of its array}. The only action is `action`; what has no root is observed.

    >>> paths_of(["obs", "actions", "images/top"]), paths_of(["observation/state", "action/arm", "action/hand"])
    ({'observation': 'obs', 'action': 'actions', 'observation/images/top': 'images/top'}, \
{'observation/state': 'observation/state', 'action/arm': 'action/arm', 'action/hand': 'action/hand'})
    """
    parts = {name: name.split("/") for name in names}
    actions = [name for name in names if root_of(parts[name][0])[0] == "action"]
    found: dict[str, str] = {}
    for name in names:
        first, *others = parts[name]
        root, rest = root_of(first)
        keys = [*rest, *others] if root else parts[name]
        if root == "action" and len(actions) == 1:
            keys = [*others]
        path = path_of(root or "observation", keys)
        found[path if path not in found else path_of("observation", parts[name])] = name
    return found


def steps_of(one: ArraySet, options: NpzOptions, ends: str) -> int:
    """The number of rows of the action, or of the longest array if none is the action."""
    lengths = {name: header.shape[0] for name, header in one.headers.items() if header.shape and name != ends}
    paths = paths_of(list(lengths))
    wanted = listed(options.action) or ["action"]
    acted = [
        lengths[name] for path, name in paths.items() for one in wanted if path == one or path.startswith(f"{one}/")
    ]
    return next(iter(acted), max(lengths.values(), default=0))


def _check_length(header: Header, steps: int, asked: bool) -> None:
    """Raise ValueError unless an array has a row for each action, or one more."""
    if header.shape and not asked and header.shape[0] not in (steps, steps + 1):
        raise ValueError(f"it has {header.shape[0]} rows, where there are {steps} actions")


def _space(sets: Sequence[ArraySet], name: str, look: int) -> Any:
    """The space of a field. Raises ValueError if there is none, saying why."""
    header = sets[0].headers[name]
    if header.dtype.kind in "SU" and len(header.shape) < 2:
        return Text()
    if not header.shape:
        raise ValueError(f"it has one value, {header.dtype}, and none for each timestep")
    shape, dtype = header.shape[1:], header.dtype.newbyteorder("=")
    if dtype.kind not in "fiub":
        raise ValueError(f"its values are {header.dtype}{list(shape)}")
    if 0 in shape:
        raise ValueError("an array without elements")
    if dtype == np.uint8 and len(shape) == 3 and shape[2] == 3 and min(shape[:2]) >= LEAST_SIDE:
        return PictureFiles(shape)
    if len(shape) > 1:
        return Box(shape, dtype)
    found = [_first_rows(one, name, look) for one in sets if _alike(one.headers.get(name), header)]
    seen = [rows for rows in found if rows is not None]
    return Box.seen_in(seen) if seen else Box(shape, dtype)


def _alike(one: Header | None, two: Header) -> bool:
    return one is not None and one.shape[1:] == two.shape[1:] and one.dtype == two.dtype


def _first_rows(one: ArraySet, name: str, look: int) -> Any:
    """The rows that are looked at; None if they are damaged: episodes that need them become rejects."""
    try:
        rows = one.rows(name)
        return rows.read(0, min(look, len(rows)))
    except RemoteError:
        raise
    except Exception:  # zipfile and zlib raise errors of many kinds
        return None
