"""Texts and pictures as Minari stores them, in HDF5 and in Arrow."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.sources.formats.limits import MAX_FIELD_BYTES
from pipelines.sources.minari.spaces import Box


def text_of_value(value: Any, path: str) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, bytes):
        raise ValueError(f"{path}: expected text, got {type(value).__name__}")
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8: {error}") from error


def decoded_pictures(values: Any, space: Box, path: str, notes: dict[str, int]) -> NDArray[np.uint8]:
    """Decode a sequence of picture files; those that are JPEG are counted in `notes`. Raises ValueError naming the one
    that is damaged or has another shape."""
    if len(values) * int(np.prod(space.shape)) > MAX_FIELD_BYTES:
        raise ValueError(
            f"{path}: {len(values)} images of {list(space.shape)} are more than {MAX_FIELD_BYTES} bytes, the most"
            " that a field of an episode may have: split the episode"
        )
    images = np.empty((len(values), *space.shape), np.uint8)
    for i, value in enumerate(values):
        images[i], form = _decode(bytes(value), space.shape, f"{path}[{i}]")
        if form == "JPEG":
            note = f"{path.partition('/')[2]}: image is from lossy JPEG"
            notes[note] = notes.get(note, 0) + 1
    return images


def _decode(data: bytes, shape: tuple[int, ...], path: str) -> tuple[NDArray[np.uint8], str]:
    """Decode an image to (pixels, format); its size is checked before any pixel is decoded."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            if image.size == (shape[1], shape[0]):
                pixels = np.asarray(image)
                if pixels.shape == shape and pixels.dtype == np.uint8:
                    return pixels, str(image.format)
            found = f"{image.mode} image of {image.size[1]}x{image.size[0]}"
    except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error, a bomb's error and more
        raise ValueError(f"{path}: the image cannot be decoded: {error}") from error
    raise ValueError(f"{path}: expected an image of {list(shape)}, got a {found}")
