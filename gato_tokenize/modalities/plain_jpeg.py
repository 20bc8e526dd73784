"""Plain JPEG files to pixels by Pillow's decoder alone, without its reading of the header.

For a small picture that reading takes most of the time. A robot's dataset has millions of small JPEGs without any
metadata. Everything unusual is left to `picture_file`.
"""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_MODES = {1: "L", 3: "RGB"}  # by the number of components
_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive
_SKIPPED = (0xDB, 0xC4, 0xDD, 0xFE)  # tables, the restart interval, a comment
_JFIF, _SCAN = 0xE0, 0xDA


def plain_jpeg_size(data: bytes) -> tuple[int, int, int] | None:
    """(height, width, components) of a JPEG of 8 bits in grey or RGB; None for any other data.

    None too if there is a marker that may change what is shown: EXIF, XMP, Adobe's transform, a second picture.
    """
    if data[:2] != b"\xff\xd8":
        return None
    at, found = 2, None
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _SCAN:
            return found
        if marker in _FRAMES and found is None and at + 10 <= len(data):
            bits, height, width, components = struct.unpack_from(">BHHB", data, at + 4)
            if bits != 8 or components not in _MODES or not height or not width:
                return None
            found = (height, width, components)
        elif marker not in _SKIPPED and (marker != _JFIF or data[at + 4 : at + 9] != b"JFIF\0"):
            return None
        at += 2 + length
    return None


def plain_jpeg_pixels(data: bytes, size: tuple[int, int, int]) -> NDArray[np.uint8] | None:
    """uint8[height, width] or [height, width, 3] of a file of `plain_jpeg_size`; None if it cannot be decoded so."""
    height, width, components = size
    mode = _MODES[components]
    try:
        raw: Any = Image.frombytes(mode, (width, height), data, "jpeg", mode, "").tobytes()
    except (ValueError, OSError, SyntaxError):
        return None
    pixels = np.frombuffer(raw, np.uint8)
    return pixels.reshape(height, width) if components == 1 else pixels.reshape(height, width, 3)
