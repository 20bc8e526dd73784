"""The pictures in messages: pixels as a camera gives them, or picture files."""

import base64
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_tokenize.modalities.image import MAX_PIXELS, resized
from gato_tokenize.modalities.picture_file import open_picture, pixels_of
from pipelines.sources.recordings.recording import UnfitError

RAW, FILE = {"height", "width", "encoding", "data"}, {"format", "data"}  # the members of a message that is a picture
VIDEO = ("h264", "h265", "hevc", "vp8", "vp9", "av1")
# {encoding: (channels, their order in RGB)}; a fourth channel is alpha, which is dropped
COLOURS = {
    "rgb8": (3, (0, 1, 2)),
    "bgr8": (3, (2, 1, 0)),
    "rgba8": (4, (0, 1, 2)),
    "bgra8": (4, (2, 1, 0)),
    "mono8": (1, (0,)),
    "8uc1": (1, (0,)),
}
NUMBERS = {"mono16": "u2", "16uc1": "u2", "16sc1": "i2", "32fc1": "f4", "64fc1": "f8"}  # depth: no colours


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture of a message that is not decoded yet. `pixels` are in RGB or grey; or `file` has the bytes of a JPEG or
    another picture file."""

    pixels: NDArray[np.uint8] | None = None  # [height, width] or [height, width, 3]
    file: bytes = b""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width). Raises ValueError for a file that is no picture."""
        if self.pixels is not None:
            return self.pixels.shape[0], self.pixels.shape[1]
        width, height = open_picture(self.file).size
        return height, width

    def shown(self, size: tuple[int, int], target: tuple[int, int]) -> Any:
        """The picture for an episode, brought to the size `target`: an array, or the file itself if it has that size.

        Raises ValueError if it has not the `size` of the first one, has too many pixels, or is damaged.
        """
        if self.size != size:
            raise ValueError(f"expected a picture of {list(size)} as the first ones are, got {list(self.size)}")
        if size == target:
            return self.file if self.pixels is None else self.pixels
        if size[0] * size[1] > MAX_PIXELS:
            raise ValueError(f"a picture of {list(size)} has more than {MAX_PIXELS} pixels")
        pixels = pixels_of(open_picture(self.file)) if self.pixels is None else self.pixels
        return resized(np.ascontiguousarray(pixels), *target)


def picture_of(message: Mapping[str, Any]) -> Picture | NDArray[Any] | None:
    """The picture that a message is, by the names of its members: `sensor_msgs/Image` and `CompressedImage`, Foxglove's
    `RawImage` and `CompressedImage`, and their like. None if it is none; an array [height, width] for depth.

    Raises UnfitError for pictures in a form that is not read, ValueError for those that are damaged.
    """
    if RAW <= message.keys():
        return _raw(message)
    if FILE <= message.keys() and isinstance(message["format"], str):
        return _file(message["format"].lower(), _bytes(message["data"]))
    return None


def _file(form: str, data: bytes) -> Picture:
    if "compresseddepth" in form:
        raise UnfitError("depth in the form of image_transport's compressedDepth")
    if any(codec in form for codec in VIDEO):
        raise UnfitError(f"video ({form}), whose frames need those before them")
    return Picture(file=data)


def _raw(message: Mapping[str, Any]) -> Picture | NDArray[Any]:
    height, width, data = int(message["height"]), int(message["width"]), _bytes(message["data"])
    encoding = str(message["encoding"]).lower()
    if encoding in NUMBERS:
        channels, dtype = 1, np.dtype(NUMBERS[encoding]).newbyteorder(">" if message.get("is_bigendian") else "<")
    elif encoding in COLOURS:
        channels, dtype = COLOURS[encoding][0], np.dtype(np.uint8)
    else:
        raise UnfitError(f"pictures in the encoding {message['encoding']!r}")
    row = width * channels * dtype.itemsize
    step = int(message.get("step") or row)
    if height < 1 or width < 1 or step < row or len(data) < step * (height - 1) + row:
        raise ValueError(f"a picture of {height}x{width} in {encoding}, {step} bytes a row, has {len(data)} bytes")
    rows = np.ndarray((height, row), np.uint8, data, strides=(step, 1))
    values = np.ascontiguousarray(rows).view(dtype)
    if encoding in NUMBERS:
        return np.asarray(values.astype(dtype.newbyteorder("=")))
    if channels == 1:
        return Picture(values)
    pixels = values.reshape(height, width, channels)[..., list(COLOURS[encoding][1])]
    return Picture(np.ascontiguousarray(pixels))


def _bytes(data: Any) -> bytes:
    """The bytes of a member: an array of ROS, bytes of Protobuf, base64 of JSON."""
    if isinstance(data, str):
        return base64.b64decode(data, validate=True)
    return data if isinstance(data, bytes) else np.asarray(data, np.uint8).tobytes()
