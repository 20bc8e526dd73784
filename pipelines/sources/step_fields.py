"""StepFields: the fields of a timestep as a format describes them, and which of them an episode is made of."""

import dataclasses
import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gato_tokenize.array_spaces import Box, Text
from pipelines.sources.episode_options import EpisodeOptions, listed
from pipelines.sources.errors import SourceError

INSTRUCTION = "observation/instruction"  # where the instruction stands in every spec
MANY = 512  # numbers in a timestep that are more than a field of tokens should have


@dataclasses.dataclass(frozen=True)
class StepFields:
    """The fields that the metadata of a format describe, each with one value a timestep.

    spaces: {path: a space of `gato_tokenize.array_spaces`}. The path of a field of the observation is "observation" or
        begins with "observation/", that of an action with "action"; any other field is left out unless it is asked for.
        Join the keys of a path by `join_path`. Rewards and flags of an episode's end are no fields.
    instruction: the path of the field that holds the instruction; "" if there is none.
    apart: {path: why it is left out unless it is asked for}. unreadable: {path: why no field of an episode can be made
        of it}; these have no space.
    """

    spaces: Mapping[str, Any]
    instruction: str = ""
    apart: Mapping[str, str] = dataclasses.field(default_factory=dict)
    unreadable: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class FieldChoice:
    """Which fields an episode is made of.

    places: {path in the spec: path in the format}. left_out: {path in the format: why}.
    """

    places: Mapping[str, str]
    left_out: Mapping[str, str]


def many_numbers(spaces: Mapping[str, Any]) -> dict[str, str]:
    """Return {path: why it stands apart} of the fields, other than pictures, of many numbers a timestep.

    >>> many_numbers({"observation/depth": Box((48, 64), np.dtype(np.uint16)), "action": Box((7,), np.dtype("f4"))})
    {'observation/depth': 'its 3072 numbers would be as many tokens in every timestep'}
    """
    sizes = {
        path: int(np.prod(space.shape, dtype=object))
        for path, space in spaces.items()
        if isinstance(space, Box) and space.dtype != np.uint8
    }
    said = "its {} numbers would be as many tokens in every timestep"
    return {path: said.format(size) for path, size in sizes.items() if size > MANY}


def choose_fields(fields: StepFields, options: EpisodeOptions) -> FieldChoice:
    """Apply `fields=`, `action=` and `instruction=`.

    >>> spaces = {"observation/eye": Text(), "observation/arm": Text(), "action": Text(), "note": Text()}
    >>> choice = choose_fields(StepFields(spaces, "note"), EpisodeOptions(fields="-observation/eye"))
    >>> choice.places
    {'observation/arm': 'observation/arm', 'observation/instruction': 'note', 'action': 'action'}
    >>> choice.left_out
    {'observation/eye': 'fields= leaves it out'}

    Raises SourceError naming the fields that there are, if one was asked for that there is not, if two would have one
    name, or if there would be no observation or no action.
    """
    action = _action(fields, options)
    instruction = _instruction(fields, options)
    observation = _observation(fields, options, {*action, instruction})
    names = [(_observed(path, len(observation) == 1 and not instruction), path) for path in observation]
    names += [(INSTRUCTION, instruction)] if instruction else []
    names += [(name, path) for name, path in zip(_acted(action, bool(options.action)), action, strict=True)]
    places: dict[str, str] = {}
    for name, path in names:
        if name in places:
            raise SourceError(f"{places[name]} and {path} would both be {name}: leave one out by fields=-{path}")
        places[name] = path
    left = [path for path in fields.spaces if path not in places.values()]
    return FieldChoice(places, {**{path: _why_left_out(path, fields, options) for path in left}, **fields.unreadable})


def _observation(fields: StepFields, options: EpisodeOptions, taken: set[str]) -> list[str]:
    chosen = listed(options.fields)
    kept = [name for name in chosen if not name.startswith("-")]
    dropped = [name[1:] for name in chosen if name.startswith("-")]
    for pattern in (*kept, *dropped):
        if not any(_matches(pattern, path) for path in (*fields.spaces, *fields.unreadable)):
            raise SourceError(f"option fields={options.fields}: no field {pattern}; {_all(fields)}")
    for path in kept:
        if path in fields.unreadable:
            raise SourceError(f"option fields={options.fields}: {path} cannot be read: {fields.unreadable[path]}")
    if kept:
        found = [path for path in fields.spaces if any(_matches(pattern, path) for pattern in kept)]
    else:
        found = [path for path in fields.spaces if is_below(path, "observation") and not _apart(path, fields)]
    found = [path for path in found if path not in taken and not any(_matches(pattern, path) for pattern in dropped)]
    if not found:
        raise SourceError(f"no field is left for the observation: choose some by fields=PATH,PATH; {_all(fields)}")
    return found


def _action(fields: StepFields, options: EpisodeOptions) -> list[str]:
    if not options.action:
        found = [path for path in fields.spaces if is_below(path, "action") and not _apart(path, fields)]
        if not found:
            raise SourceError(f"no field is the action: choose it by action=PATH; {_all(fields)}")
        return found
    found = []
    for name in listed(options.action):
        below = [path for path in fields.spaces if is_below(path, name)]
        if not below:
            raise SourceError(f"option action={options.action}: no field {name}; {_all(fields)}")
        found += [path for path in below if path not in found]
    return found


def _instruction(fields: StepFields, options: EpisodeOptions) -> str:
    path = options.instruction or fields.instruction
    if path == "none" or not path:
        return ""
    if not options.instruction and any(_matches(name[1:], path) for name in listed(options.fields) if name[0] == "-"):
        return ""
    if not isinstance(fields.spaces.get(path), Text):
        texts = [path for path, space in fields.spaces.items() if isinstance(space, Text)]
        raise SourceError(f"option instruction={path} is no field of text; those are: {', '.join(texts) or 'none'}")
    return path


def _observed(path: str, alone: bool) -> str:
    """The path in the spec of a field of the observation."""
    if path.startswith("observation/") or (path == "observation" and alone):
        return path
    return f"observation/{path}"


def _acted(paths: Sequence[str], chosen: bool) -> list[str]:
    """The paths in the spec of the fields of the action: those that were chosen are moved below `action`."""
    if not chosen:
        return list(paths)
    return ["action"] if len(paths) == 1 else [f"action/{path.removeprefix('action/')}" for path in paths]


def _apart(path: str, fields: StepFields) -> str:
    """Say why a field is left out unless it is asked for; "" if it is not."""
    space = fields.spaces[path]
    vector = isinstance(space, Box) and len(space.shape) == 1 and np.dtype(space.dtype).kind == "f"
    if vector and "embedding" in path.rpartition("/")[2]:
        return f"an embedding, whose {space.shape[0]} numbers would be as many tokens in every timestep"
    return fields.apart.get(path, "")


def _why_left_out(path: str, fields: StepFields, options: EpisodeOptions) -> str:
    if any(_matches(name[1:], path) for name in listed(options.fields) if name.startswith("-")):
        return "fields= leaves it out"
    if path in (options.instruction, fields.instruction):
        return "instruction= chooses another"
    if is_below(path, "observation") and any(not name.startswith("-") for name in listed(options.fields)):
        return "fields= does not name it"
    if is_below(path, "action") and options.action:
        return "action= does not name it"
    return f"{_apart(path, fields) or 'neither observation nor action'}; fields={path} would keep it"


def _matches(pattern: str, path: str) -> bool:
    return is_below(path, pattern) or fnmatch.fnmatchcase(path, pattern)


def is_below(path: str, group: str) -> bool:
    """Whether a path is that of a group, or of something in it."""
    return path == group or path.startswith(group + "/")


def _all(fields: StepFields) -> str:
    return f"fields: {', '.join(fields.spaces)}"
