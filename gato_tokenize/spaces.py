"""Specs from Gymnasium spaces. Spaces are recognized by their class names, so Gymnasium is never imported."""

from typing import Any

import numpy as np

from gato_tokenize.field_spec import ContinuousSpec, DiscreteSpec, ImageSpec, TextSpec
from gato_tokenize.spec import EpisodeSpec


def spec_from_spaces(observation_space: Any, action_space: Any) -> EpisodeSpec:
    """Make the `EpisodeSpec` of an environment's spaces: Box, Discrete, MultiDiscrete, MultiBinary, Text, Dict, Tuple.

    * a uint8 Box in the observation of rank 2, or of rank 3 with 1, 3 or 4 channels last, both sides >= 16: an image;
    * any other integer or bool Box, Discrete, MultiDiscrete, MultiBinary: discrete, shifted by its low bound;
    * a float Box: continuous; the finite bounds of an action are kept (they are mapped to [-1, 1]); an element with a
      bound that is infinite, or beyond float32's range, has the paper's [-1, 1];
    * Text, and a MiniGrid mission: text.

    The members of a Tuple have their index as key, zero-padded so that the order of the keys is the order of the tuple;
    `tuple_to_dict` does the same to a value.

    Raises ValueError naming the path and the class of any other space, and of a space without elements or with equal
    bounds. Write a spec for such a field yourself.
    """
    return EpisodeSpec(_tree(observation_space, "observation"), _tree(action_space, "action"))


def tuple_to_dict(value: Any) -> Any:
    """Turn the tuples in an observation or action, at any depth, into the dicts that `spec_from_spaces` describes.

    >>> tuple_to_dict(({"a": 1}, 2))
    {'0': {'a': 1}, '1': 2}
    """
    if isinstance(value, tuple):
        return {key: tuple_to_dict(member) for key, member in zip(_tuple_keys(len(value)), value, strict=True)}
    if hasattr(value, "items"):
        return {str(key): tuple_to_dict(member) for key, member in value.items()}
    return value


def _tuple_keys(length: int) -> list[str]:
    return [f"{i:0{len(str(max(length - 1, 0)))}d}" for i in range(length)]


def _tree(space: Any, path: str) -> Any:
    names = {cls.__name__ for cls in type(space).__mro__}
    if "Dict" in names:
        return {str(key): _tree(space.spaces[key], f"{path}/{key}") for key in space.spaces}
    if "Tuple" in names:
        keys = _tuple_keys(len(space.spaces))
        return {key: _tree(member, f"{path}/{key}") for key, member in zip(keys, space.spaces, strict=True)}
    try:
        return _field(space, names, is_action=path.split("/")[0] == "action")
    except ValueError as error:
        raise ValueError(f"{path}: {error}; write a spec for it yourself") from error


def _field(space: Any, names: set[str], is_action: bool) -> Any:
    if names & {"Text", "MissionSpace"}:
        return TextSpec()
    if "Discrete" in names:
        return DiscreteSpec(int(space.n), (), int(getattr(space, "start", 0)))
    if "MultiDiscrete" in names:
        nvec = np.asarray(space.nvec)
        return DiscreteSpec(nvec, nvec.shape, np.broadcast_to(getattr(space, "start", 0), nvec.shape))  # type: ignore[arg-type]
    if "MultiBinary" in names:
        return DiscreteSpec(2, tuple(space.shape))
    if "Box" in names:
        return _box(space, is_action)
    raise ValueError(f"no field can stand for a {type(space).__name__} space")


def _box(space: Any, is_action: bool) -> Any:
    shape, dtype = tuple(space.shape), np.dtype(space.dtype)
    if dtype.kind == "f":
        if not is_action:
            return ContinuousSpec(shape)
        finite = np.maximum(np.abs(space.low), np.abs(space.high)) <= np.finfo(np.float32).max
        low, high = (np.where(finite, bound, one) for bound, one in ((space.low, -1.0), (space.high, 1.0)))
        return ContinuousSpec(shape, low, high)  # type: ignore[arg-type]
    if dtype.kind not in "iub":
        raise ValueError(f"no field can stand for a Box of {dtype}")
    picture = dtype == np.uint8 and len(shape) in (2, 3) and min(shape[:2]) >= 16
    if picture and not is_action:
        if len(shape) == 3 and shape[2] not in (1, 3, 4):
            raise ValueError(
                f"uint8{list(shape)} looks like an image with {shape[2]} channels; an image has 1, 3 or 4 of them, "
                "last: split stacked frames into fields"
            )
        return ImageSpec(shape)
    low, high = np.asarray(space.low).astype(object), np.asarray(space.high).astype(object)  # no overflow at 2^63
    return DiscreteSpec(high - low + 1, shape, low)  # type: ignore[arg-type]
