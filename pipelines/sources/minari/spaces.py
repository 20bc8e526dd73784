"""Spaces from the JSON of a Minari dataset's metadata, as light classes that `spec_from_spaces` knows by name."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.sources.formats.lines import object_of

MAX_DEPTH = 32


@dataclasses.dataclass(frozen=True)
class Box:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    low: NDArray[Any]
    high: NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Discrete:
    n: int
    start: int


@dataclasses.dataclass(frozen=True)
class MultiDiscrete:
    nvec: NDArray[np.int64]
    start: NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class MultiBinary:
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Text:
    pass


@dataclasses.dataclass(frozen=True)
class Dict:
    spaces: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Tuple:
    spaces: tuple[Any, ...]


def space_from_json(text: str, where: str) -> Any:
    """Build the space that `text` describes; ValueError names the part that describes none.

    >>> space_from_json('{"type": "Discrete", "dtype": "int64", "start": 1, "n": 3}', "action_space")
    Discrete(n=3, start=1)
    """
    return _space(object_of(text, where), where, MAX_DEPTH)


def _space(node: Any, path: str, depth: int) -> Any:
    node = node if isinstance(node, dict) else {}
    kind, members = str(node.get("type")), node.get("subspaces")
    if depth == 0:
        raise ValueError(f"{path}: spaces nested more than {MAX_DEPTH} deep")
    if kind == "Dict" and isinstance(members, dict):
        return Dict({key: _space(member, f"{path}/{key}", depth - 1) for key, member in members.items()})
    if kind == "Tuple" and isinstance(members, list):
        return Tuple(tuple(_space(member, f"{path}/{i}", depth - 1) for i, member in enumerate(members)))
    if kind not in _LEAVES:
        raise ValueError(f"{path}: no space of type {kind!r}; known: Dict, Tuple (of subspaces), {', '.join(_LEAVES)}")
    try:
        return _LEAVES[kind](node)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}: no {kind} space can be made of this: {error!r}") from error


def _box(node: dict[str, Any]) -> Box:
    shape, dtype = tuple(int(side) for side in node["shape"]), np.dtype(node["dtype"])
    low, high = (np.asarray(node[name], dtype).reshape(shape) for name in ("low", "high"))
    return Box(shape, dtype, low, high)


def _multi_discrete(node: dict[str, Any]) -> MultiDiscrete:
    nvec = np.asarray(node["nvec"], np.int64)
    return MultiDiscrete(nvec, np.broadcast_to(np.asarray(node.get("start", 0), np.int64), nvec.shape))


def _multi_binary(node: dict[str, Any]) -> MultiBinary:
    return MultiBinary(tuple(int(side) for side in np.ravel(node["n"])))


_LEAVES: dict[str, Any] = {
    "Box": _box,
    "Discrete": lambda node: Discrete(int(node["n"]), int(node.get("start", 0))),
    "MultiDiscrete": _multi_discrete,
    "MultiBinary": _multi_binary,
    "Text": lambda node: Text(),
}
