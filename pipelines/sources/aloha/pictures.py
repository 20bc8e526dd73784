"""CameraRows: the pictures of a camera, as pixels or as padded files, brought to their size while they are read."""

from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from gato_tokenize.modalities.image import MAX_PIXELS, resized
from gato_tokenize.modalities.picture_file import open_picture, pixels_of
from pipelines.sources.formats.hdf5 import checked_array, values_of
from pipelines.sources.formats.limits import MAX_FIELD_BYTES

BLOCK_BYTES = 8 * 2**20  # of pictures that are read at once, so that an episode is never in memory at its full size


def is_files(node: h5py.Dataset) -> bool:
    """Whether an array holds picture files: rows of bytes that are padded by zeros, or rows of any length."""
    if h5py.check_vlen_dtype(node.dtype) == np.uint8:
        return bool(node.ndim == 1)
    return (node.dtype.kind, node.ndim) == ("S", 1) or (node.dtype == np.uint8 and bool(node.ndim == 2))


def picture_shape(node: h5py.Dataset, path: str) -> tuple[int, ...]:
    """[height, width, 3] of the pictures of a camera, of files by the first. Raises ValueError if it cannot be told."""
    checked_array(node, path)
    if not is_files(node):
        return tuple(node.shape[1:])
    if not node.shape[0]:
        raise ValueError(f"{path}: holds no picture")
    width, height = open_picture(_file(values_of(node, path, None, slice(0, 1))[0])).size
    return height, width, 3


class CameraRows:
    """The pictures of a camera, read where they are sliced: a list of arrays uint8[*size, 3], or of files.

    shape: [height, width, 3] of every picture. size: (height, width) to bring them to. A file is kept as it is if it
    has that size, unless its colours must be exchanged (`bgr`).

    Raises ValueError naming the picture that is damaged or has another shape.
    """

    def __init__(self, node: Any, path: str, shape: tuple[int, ...], size: tuple[int, int], bgr: bool) -> None:
        self._node, self._path, self._shape = checked_array(node, path), path, shape
        self._size, self._bgr, self._files = size, bgr, is_files(node)
        if not self._files and (node.dtype != np.uint8 or node.shape[1:] != shape):
            raise ValueError(f"{path}: expected uint8 of shape {list(shape)}, got {node.dtype}{list(node.shape[1:])}")

    @property
    def decodes(self) -> bool:
        """Whether pictures that are stored as files are decoded here."""
        return self._files and (self.resizes or self._bgr)

    @property
    def resizes(self) -> bool:
        return self._size != self._shape[:2]

    def __len__(self) -> int:
        return int(self._node.shape[0])

    def __getitem__(self, rows: slice) -> list[Any]:
        wanted = range(*rows.indices(len(self)))
        if len(wanted) * 3 * self._size[0] * self._size[1] > MAX_FIELD_BYTES:
            raise ValueError(
                f"{self._path}: {len(wanted)} pictures of {list(self._size)} are more than {MAX_FIELD_BYTES} bytes, the"
                " most that a field of an episode may have: make them smaller by resize=, or split the episode"
            )
        found: list[Any] = []
        for start in range(0, len(wanted), self._block):
            block = wanted[start : start + self._block]
            values = values_of(self._node, self._path, None, slice(block.start, block.stop, block.step))
            found += [self._picture(value, row) for value, row in zip(values, block, strict=True)]
        return found

    @property
    def _block(self) -> int:
        """Pictures that are read at once: whole chunks, so that none is unpacked twice."""
        row = max(1, int(np.prod(self._node.shape[1:], dtype=object)) * self._node.dtype.itemsize)
        chunk = int(self._node.chunks[0]) if self._node.chunks else 1
        return int(max(1, BLOCK_BYTES // (row * chunk))) * chunk

    def _picture(self, value: Any, row: int) -> Any:
        if not self._files:
            return self._sized(value)
        data = _file(value)
        try:
            image = open_picture(data)
            if image.size != self._shape[1::-1] or image.width * image.height > MAX_PIXELS:
                raise ValueError(f"expected a picture of {list(self._shape[:2])}, got {image.height}x{image.width}")
            return self._sized(pixels_of(image)) if self.decodes else data
        except ValueError as error:
            raise ValueError(f"{self._path}[{row}]: {error}") from error

    def _sized(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        pixels = pixels[..., 2::-1] if self._bgr and pixels.ndim == 3 else pixels
        return resized(np.ascontiguousarray(pixels), *self._size) if self.resizes else pixels


def _file(value: Any) -> bytes:
    """The bytes of a file without the zeros after it, with which rows are made equally long. No JPEG or PNG ends in
    one."""
    return (value if isinstance(value, bytes) else value.tobytes()).rstrip(b"\0")
