"""DemoFile: what a file of demonstrations says of itself, before any of them is read."""

import dataclasses
import functools
import json
import os
import re
from typing import Any

import h5py

from gato_tokenize.array_spaces import Text
from gato_tokenize.storage.address import RemoteError
from pipelines.sources.errors import SourceError
from pipelines.sources.formats.hdf5 import check_layout, child, planned, text_attribute, values_of
from pipelines.sources.formats.hdf5_steps import Keys, StepArrays, step_arrays, step_path
from pipelines.sources.formats.natural_order import natural_key
from pipelines.sources.formats.places import Size, size_of

LOOK = 2  # demonstrations that are looked at for their fields
NO_FIELDS = ("rewards", "dones", "next_obs")  # next_obs repeats obs one timestep later
# Where a file keeps the instruction, the first that is there: of each demonstration, or of the file.
INSTRUCTIONS = ("ep_meta/lang", "problem_info/language_instruction")
FILE_NAME = "file_name"


@dataclasses.dataclass(frozen=True)
class DemoFile:
    """A file in robomimic's layout.

    demos: the names of its demonstrations, `demo_2` before `demo_10`. masks: {name of a mask: the names in it}. steps:
    timesteps of a demonstration, about. texts: {field: text} of what the file says in words.
    """

    uri: str
    bytes: Size
    env_name: str
    sparse: bool
    demos: tuple[str, ...]
    masks: dict[str, tuple[str, ...]]
    steps: int
    fields: StepArrays
    texts: dict[str, str]


def read_demo_file(uri: str) -> DemoFile:
    """Look into a file. Raises SourceError if it is not in robomimic's layout, or if no demonstration can be read."""
    size = size_of(uri)
    return planned(uri, functools.partial(_read, uri=uri, size=size))


def _read(file: h5py.File, uri: str, size: Size) -> DemoFile:
    check_layout(file, uri, "data", "robomimic")
    data = child(file, "data", "")
    demos = tuple(sorted(data, key=natural_key))
    env = json_attribute(data, "env_args")
    kwargs = env.get("env_kwargs")
    fields, steps = _fields(data, demos, uri)
    return DemoFile(
        uri,
        size,
        str(env.get("env_name") or ""),
        isinstance(kwargs, dict) and kwargs.get("reward_shaping") is False,
        demos,
        _masks(file),
        steps,
        fields,
        file_texts(data, uri),
    )


def _fields(data: Any, demos: tuple[str, ...], uri: str) -> tuple[StepArrays, int]:
    """(the fields of the first demonstrations that can be read, timesteps of one)."""
    readable, fault = [], "it has none"
    for name in demos:
        try:
            demo = child(data, name, "data")
            steps = len(checked_actions(demo, name))
        except RemoteError:
            raise
        except (ValueError, OSError, RuntimeError, KeyError) as error:  # it becomes a reject
            fault = str(error)
            continue
        readable.append((demo, steps))
        if len(readable) == LOOK:
            break
    if not readable:
        raise SourceError(f"{uri}: no demonstration can be read: {fault}")
    found = step_arrays(readable, _path_of)
    demo_texts = {"ep_meta/lang": Text()} if demo_text(readable[0][0]) else {}
    return dataclasses.replace(found, spaces=found.spaces | demo_texts), max(steps for _, steps in readable)


def checked_actions(demo: Any, path: str) -> Any:
    """The array of a demonstration's actions, whose length is its number of timesteps."""
    actions = child(demo, "actions", path)
    if not isinstance(actions, h5py.Dataset) or not actions.shape:
        raise ValueError(f"{path}/actions: expected an array with a time axis")
    return actions


def _path_of(keys: Keys) -> str:
    return "" if keys[0] in NO_FIELDS else step_path(keys, {"obs": "observation", "actions": "action"})


def _masks(file: h5py.File) -> dict[str, tuple[str, ...]]:
    if "mask" not in file:
        return {}
    mask = child(file, "mask", "")
    return {
        name: tuple(
            value.decode() if isinstance(value, bytes) else str(value)
            for value in values_of(child(mask, name, "mask"), f"mask/{name}", None)
        )
        for name in sorted(mask)
    }


def json_attribute(node: Any, name: str) -> dict[str, Any]:
    """The JSON object of an attribute; {} if there is none."""
    try:
        value = json.loads(text_attribute(node, name) or "{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def demo_text(demo: Any) -> str:
    """The instruction of one demonstration; "" if it has none."""
    return _words(json_attribute(demo, "ep_meta").get("lang"))


def file_texts(data: Any, uri: str) -> dict[str, str]:
    """{field: text} of the instruction that stands in the file, and of the one that its name makes."""
    said = _words(json_attribute(data, "problem_info").get("language_instruction"))
    return {INSTRUCTIONS[1]: said, FILE_NAME: words_of_name(uri)} if said else {FILE_NAME: words_of_name(uri)}


def words_of_name(uri: str) -> str:
    """The instruction that the name of a file holds, as LIBERO names its files.

    >>> words_of_name("libero_90/KITCHEN_SCENE3_turn_on_the_stove_demo.hdf5")
    'turn on the stove'
    """
    name = os.path.basename(uri).rpartition(".")[0].removesuffix("_demo")
    return re.sub(r"^[A-Z_]+SCENE[0-9]+_", "", name).replace("_", " ").strip()


def _words(value: Any) -> str:
    """A text, or a list of words; LIBERO writes quotation marks around it."""
    value = " ".join(map(str, value)) if isinstance(value, list) else value
    return value.strip().strip('"').strip() if isinstance(value, str) else ""
