"""Timesteps as an environment gives them: tuples to dicts, and a list of timesteps to fields stacked along time."""

from collections.abc import Mapping
from typing import Any

from gato_tokenize.boxes import numbered
from gato_tokenize.spec import join_path, match_keys


def tuple_to_dict(value: Any) -> Any:
    """Turn the tuples in an observation or action, at any depth, into the dicts that `spec_from_spaces` describes.

    >>> tuple_to_dict(({"a": 1}, 2))
    {'0': {'a': 1}, '1': 2}
    """
    if isinstance(value, tuple):
        return {key: tuple_to_dict(member) for key, member in zip(numbered(len(value)), value, strict=True)}
    if hasattr(value, "items"):
        return {str(key): tuple_to_dict(member) for key, member in value.items()}
    return value


def stack_steps(spec: Any, value: Any, path: str) -> Any:
    """Return the list of a field's timesteps for each field of `spec`, from a list with a dict or tuple a timestep.

    Whatever is stacked already is returned as it is, and so is the list of a single field.

    >>> steps = [{"arm": 1, "eye": (2, 3)}, {"arm": 4, "eye": (5, 6)}]
    >>> stack_steps({"arm": ..., "eye": {"0": ..., "1": ...}}, steps, "observation")
    {'arm': [1, 4], 'eye': {'0': [2, 5], '1': [3, 6]}}

    Raises ValueError naming the index of a timestep that lacks a key or has another, and for a tuple in place of the
    list: its members may be fields as well as timesteps.
    """
    if not isinstance(spec, Mapping):
        return value
    if isinstance(value, Mapping):
        return {key: stack_steps(spec.get(key), member, join_path(path, str(key))) for key, member in value.items()}
    if isinstance(value, tuple):
        raise ValueError(f"{path}: a tuple holds fields or timesteps: give a list of timesteps, or a dict of fields")
    if not isinstance(value, list):
        return value
    steps = [tuple_to_dict(step) for step in value]
    if not steps:
        raise ValueError(f"{path}: the episode is empty: it has no timesteps")
    for i, step in enumerate(steps):
        match_keys(spec, step, f"{path}[{i}]")
    return {key: stack_steps(spec[key], [step[key] for step in steps], join_path(path, key)) for key in spec}
