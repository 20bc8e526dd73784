"""Specs from Gymnasium spaces. Spaces are recognized by their class names, so Gymnasium is never imported."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gato_tokenize.boxes import FieldReading, numbered, read_box
from gato_tokenize.field_spec import DiscreteSpec, ImageSpec, TextSpec
from gato_tokenize.modalities.image import target_size
from gato_tokenize.roles import RoleError, Roles
from gato_tokenize.spec import EpisodeSpec, flatten, join_path
from gato_tokenize.steps import tuple_to_dict


@dataclasses.dataclass(frozen=True)
class SpaceReading:
    """What the spaces of an environment were taken for: the spec, the reasons, and how an observation becomes it."""

    spec: EpisodeSpec
    reasons: Mapping[str, str]  # {path of a field in the spec: why it has this type}
    _convert: Mapping[str, Callable[[Any], Any]]  # {path of a space: function of its values, also stacked ones}

    def observation(self, value: Any) -> Any:
        """Bring an observation of the environment, or a stack of T, into the form of `spec`.

        Raises ValueError naming the path of a value that does not fit its role.
        """
        return _converted(tuple_to_dict(value), "observation", self._convert)

    def action(self, value: Any) -> Any:
        return _converted(tuple_to_dict(value), "action", self._convert)


def spec_from_spaces(observation_space: Any, action_space: Any, roles: Roles | None = None) -> EpisodeSpec:
    """Return the spec of `read_spaces`, which says how spaces are read and what it raises."""
    return read_spaces(observation_space, action_space, roles).spec


def read_spaces(observation_space: Any, action_space: Any, roles: Roles | None = None) -> SpaceReading:
    """Read an environment's spaces: Box, Discrete, MultiDiscrete, MultiBinary, Text, Dict, Tuple.

    * a uint8 Box [h, w] or [h, w, 1 or 3] of an observation with bounds 0 and 255 and both sides >= 16: an image;
    * any other integer or bool Box, Discrete, MultiDiscrete, MultiBinary: discrete, shifted by its low bound;
    * a float Box: continuous; the finite bounds of an action are kept (they are mapped to [-1, 1]); an element with a
      bound that is infinite, or beyond float32's range, has the paper's [-1, 1];
    * Text, and a MiniGrid mission: text.

    Arrays of a file are described by `gato_tokenize.array_spaces`, and plain dicts of them; they are read by the same
    rules. `gato_tokenize.boxes` says what happens where nobody states their range.

    A Box of an observation that could be several things (four channels, channels first, stacked frames, a float
    picture in [0, 1]) needs a role: see `gato_tokenize.roles`. `roles` also overrules the rules above.

    The members of a Tuple have their index as key, zero-padded so that the order of the keys is the order of the tuple;
    `tuple_to_dict` does the same to a value. A key of a Dict may be any string; one that is none is written as `str`.

    >>> class Box:  # as Gymnasium's
    ...     shape, dtype, low, high = (84, 84, 4), np.uint8, np.zeros((84, 84, 4)), np.full((84, 84, 4), 255)
    >>> class Discrete:
    ...     n = 6
    >>> reading = read_spaces(Box(), Discrete(), Roles({"observation": "frames"}))
    >>> list(reading.spec.observation), reading.spec.observation["3"]
    (['0', '1', '2', '3'], ImageSpec(shape=(84, 84), resize=None))
    >>> reading.observation(np.zeros((84, 84, 4), np.uint8))["3"].shape
    (84, 84)

    Raises ValueError naming the path and the class of any other space, of a space without elements or with equal
    bounds, and of one that needs a role, with the possible ones; and if a role or a size was chosen that nothing takes.
    """
    roles = roles or Roles()
    observation, action = space_tree(observation_space, "observation"), space_tree(action_space, "action")
    spaces = {**flatten(observation, "observation"), **flatten(action, "action")}
    for what, chosen in (("role", roles.by_path), ("size", roles.sizes)):
        if unknown := [path for path, _ in chosen if path not in spaces]:
            raise RoleError(f"a {what} was chosen for {', '.join(unknown)}, but the fields are {', '.join(spaces)}")
    flat = {path: _read(space, path, roles) for path, space in spaces.items()}
    spec = EpisodeSpec(_specs(observation, "observation", flat), _specs(action, "action", flat))
    if roles.resize and not any(isinstance(field, ImageSpec) for field in spec.fields.values()):
        raise RoleError("a size of pictures was chosen, but no field is a picture: choose a role for one")
    numbers = [path for path, _ in roles.sizes if not _is_picture(flat[path])]
    if numbers:
        raise RoleError(f"a size of pictures was chosen for {', '.join(numbers)}, which is no picture: choose a role")
    reasons = {path: _why(flat, path) for path in spec.fields}
    return SpaceReading(spec, reasons, {path: one.convert for path, one in flat.items() if one.convert})


def space_tree(space: Any, path: str) -> Any:
    """Return a space, or nested dicts of spaces in place of a Dict or Tuple; `path` is named in errors."""
    if isinstance(space, dict):
        return {key: space_tree(member, join_path(path, key)) for key, member in space.items()}
    if not _names(space) & {"Dict", "Tuple"}:
        return space
    members = _members(space, "Dict" in _names(space), path)
    return {key: space_tree(member, join_path(path, key)) for key, member in members.items()}


def _converted(value: Any, path: str, convert: Mapping[str, Callable[[Any], Any]]) -> Any:
    if isinstance(value, Mapping):
        return {key: _converted(member, join_path(path, key), convert) for key, member in value.items()}
    try:
        return convert[path](value) if path in convert else value
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def _is_picture(field: FieldReading) -> bool:
    specs = field.spec.values() if isinstance(field.spec, dict) else [field.spec]
    return all(isinstance(spec, ImageSpec) for spec in specs)


def _names(space: Any) -> set[str]:
    return {cls.__name__ for cls in type(space).__mro__}


def _read(space: Any, path: str, roles: Roles) -> FieldReading:
    names = _names(space)
    try:
        if "Box" in names:
            return read_box(space, path, roles)
        if "PictureFiles" in names:
            return _picture_files(space, path, roles)
        return _other(space, names, roles.of(path))
    except RoleError as error:
        raise RoleError(f"{path}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}; write a spec for it yourself") from error


def _members(space: Any, is_dict: bool, path: str) -> dict[str, Any]:
    if not is_dict:
        return dict(zip(numbered(len(space.spaces)), space.spaces, strict=True))
    members = {str(key): space.spaces[key] for key in space.spaces}
    if len(members) < len(space.spaces):
        twice = [key for key in space.spaces if not isinstance(key, str)]
        raise ValueError(f"{path}: the keys {twice} are also there as strings, so one name would stand for two fields")
    return members


def _picture_files(space: Any, path: str, roles: Roles) -> FieldReading:
    """Read pictures that are files. Their size in the file is that of the spec, so that the plan can count patches."""
    if roles.of(path) not in ("", "image"):
        raise RoleError(f"its values are picture files, so its role cannot be {roles.of(path)}")
    if path.split("/")[0] == "action":
        raise RoleError("its values are picture files, and an image is never an action")
    size = f" of {'x'.join(map(str, space.shape))}" if space.shape else ""
    resize = roles.size_of(path) or (target_size(*space.shape[:2]) if space.shape else None)
    return FieldReading(ImageSpec(None, resize), f"picture files{size}")


def _other(space: Any, names: set[str], role: str) -> FieldReading:
    if role:
        raise RoleError(f"a {type(space).__name__} space has one meaning, so its role cannot be chosen")
    why = f"a {type(space).__name__} space"
    if names & {"Text", "MissionSpace"}:
        return FieldReading(TextSpec(), why)
    if "Discrete" in names:
        return FieldReading(DiscreteSpec(int(space.n), (), int(getattr(space, "start", 0))), why)
    if "MultiDiscrete" in names:
        nvec = np.asarray(space.nvec)
        start = np.broadcast_to(getattr(space, "start", 0), nvec.shape)
        return FieldReading(DiscreteSpec(nvec, nvec.shape, start), why)
    if "MultiBinary" in names:
        return FieldReading(DiscreteSpec(2, tuple(space.shape)), why)
    raise ValueError(f"no field can stand for a {type(space).__name__} space")


def _specs(tree: Any, path: str, flat: Mapping[str, FieldReading]) -> Any:
    if isinstance(tree, Mapping):
        return {key: _specs(node, join_path(path, key), flat) for key, node in tree.items()}
    return flat[path].spec


def _why(flat: Mapping[str, FieldReading], path: str) -> str:
    """Return the reason of a field; a frame of a stack has that of the space above it."""
    return flat[path if path in flat else path.rpartition("/")[0]].why
