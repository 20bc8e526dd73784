"""AlohaFields: what the first files of a folder show of the fields, and of the length of an episode."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np

from gato_tokenize.array_spaces import Box, PictureFiles, Text
from pipelines.sources.aloha.pictures import is_files, picture_shape
from pipelines.sources.errors import SourceError
from pipelines.sources.formats.hdf5 import check_layout, checked_array, child, planned, text_attribute
from pipelines.sources.formats.hdf5_steps import Keys, StepArrays, step_arrays, step_path
from pipelines.sources.step_fields import StepFields, many_numbers

IMAGES = ("observations", "images")
INSTRUCTIONS = ("language_instruction", "instruction", "language_raw")  # texts or attributes of a file


@dataclasses.dataclass(frozen=True)
class AlohaFields:
    """arrays: the arrays and texts of a file. attributes: texts that stand in its attributes. steps: timesteps of an
    episode whose file has `bytes`."""

    arrays: StepArrays
    attributes: tuple[str, ...]
    steps: int
    bytes: int

    @property
    def step_fields(self) -> StepFields:
        spaces = self.arrays.spaces | {name: Text() for name in self.attributes}
        apart = many_numbers(spaces)
        texts = [path for path, space in spaces.items() if isinstance(space, Text)]
        apart |= {path: f"instruction={path} makes it the instruction" for path in texts if "/" not in path}
        instruction = next((name for name in INSTRUCTIONS if name in texts), "")
        return StepFields(spaces, instruction, apart, self.arrays.unreadable)


def read_fields(files: Sequence[tuple[str, int]], look: int) -> AlohaFields:
    """Look into the first files, (path, bytes) each, that can be read. Raises SourceError if none can."""
    found: list[AlohaFields] = []
    fault: SourceError | None = None
    for path, size in files:
        try:
            found.append(planned(path, functools.partial(_read, uri=path, size=size)))
        except SourceError as error:  # it becomes a reject
            fault = fault or error
        if len(found) == look:
            break
    if not found:
        raise fault or SourceError("there is no file")
    return dataclasses.replace(found[0], arrays=_seen(found))


def _read(file: h5py.File, uri: str, size: int) -> AlohaFields:
    check_layout(file, uri, "action", "ALOHA")
    action = checked_array(child(file, "action", ""), "action")
    arrays = step_arrays([(file, action.shape[0])], _path_of, _special)
    attributes = tuple(name for name in sorted(file.attrs) if text_attribute(file, name) and name not in arrays.spaces)
    return AlohaFields(arrays, attributes, action.shape[0], size)


def _seen(found: Sequence[AlohaFields]) -> StepArrays:
    """The arrays of the first file, with the ranges that were seen in all of them."""
    spaces: dict[str, Any] = {}
    for path, space in found[0].arrays.spaces.items():
        same = [one.arrays.spaces.get(path) for one in found]
        ranges = [one.seen for one in same if isinstance(one, Box) and one.seen and one.shape == space.shape]
        if ranges:
            lows, highs = zip(*ranges, strict=True)
            space = dataclasses.replace(space, seen=(np.min(lows, axis=0), np.max(highs, axis=0)))
        spaces[path] = space
    return dataclasses.replace(found[0].arrays, spaces=spaces)


def _path_of(keys: Keys) -> str:
    if keys == ("compress_len",):  # the lengths of padded pictures; their own ends say as much
        return ""
    return step_path(keys, {"observations": "observation"})


def _special(keys: Keys, node: Any) -> Any:
    """The space of a camera's pictures or of a text of the whole file, or None."""
    if h5py.check_string_dtype(node.dtype) and node.shape in ((), (1,)):
        return Text()
    if keys[:2] != IMAGES or not (is_files(node) or (node.dtype == np.uint8 and node.ndim == 4)):
        return None
    try:
        shape = picture_shape(node, "its first picture")
    except (ValueError, TypeError) as error:
        return str(error)
    return PictureFiles(shape) if shape[2:] == (3,) else None
