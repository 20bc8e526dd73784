"""Pictures <-> patches, and where a patch lies in its picture (Reed et al. 2022, sections 2.1, 2.2, appendix C.3)."""

import dataclasses
import functools
import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gato_tokenize.arrays import check_unmasked, plain_array
from gato_tokenize.modalities.picture_file import open_picture, pixels_of, shown_as_stored, stored_plainly
from gato_tokenize.modalities.plain_jpeg import plain_jpeg_pixels, plain_jpeg_size

PATCH = 16  # side of a patch in pixels
MAX_PIXELS = 89_478_485  # of a file's picture: 256 MiB of RGB, Pillow's own limit

Picture: TypeAlias = "NDArray[np.uint8] | Image.Image | bytes | bytearray | memoryview"
_Piece = np.dtype((np.void, PATCH))  # a third of a row of a patch: numpy moves 16 bytes fastest


def target_size(height: int, width: int) -> tuple[int, int]:
    """Return the multiples of 16 that are nearest to (height, width), at least 16; a tie goes up.

    >>> target_size(210, 160), target_size(24, 7)
    ((208, 160), (32, 16))
    """
    half = PATCH // 2
    return max(PATCH, (height + half) // PATCH * PATCH), max(PATCH, (width + half) // PATCH * PATCH)


def intervals(n: int, quantization: int = 128) -> NDArray[np.int32]:
    """int32[n, 2]: low and high of each of n patches along one side, in quantised positions (appendix C.3).

    The edges are i * quantization / n, rounded half to even; training draws from [low, high). With more than
    `quantization` patches some edges coincide: such an interval is widened to one position, the last at most.

    >>> intervals(5).tolist()
    [[0, 26], [26, 51], [51, 77], [77, 102], [102, 128]]

    Raises ValueError if n or quantization is below 1.
    """
    if n < 1 or quantization < 1:
        raise ValueError(f"n and quantization must be at least 1, not {n} and {quantization}")
    edges: NDArray[np.int32] = np.round(np.arange(n + 1) * quantization / n).astype(np.int32)
    low = np.minimum(edges[:-1], quantization - 1)
    return np.stack([low, np.maximum(edges[1:], low + 1)], axis=1)


@dataclasses.dataclass(frozen=True, eq=False)
class Patches:
    """The patches of one picture in raster order: pixels uint8[rows * columns, 16, 16, 3] and grid (rows, columns).

    Raises ValueError if the pixels do not fit the grid.
    """

    pixels: NDArray[np.uint8]
    grid: tuple[int, int]

    def __post_init__(self) -> None:
        check_unmasked(self.pixels, "pixel")
        rows, columns = self.grid
        shape = (rows * columns, PATCH, PATCH, 3)
        if self.pixels.shape != shape or self.pixels.dtype != np.uint8 or rows < 1 or columns < 1:
            got = f"{self.pixels.dtype}{list(self.pixels.shape)}"
            raise ValueError(f"a grid of {rows}x{columns} needs uint8{list(shape)}, got {got}")

    @property
    def scaled(self) -> NDArray[np.float32]:
        """float32[n, 16, 16, 3] in [-0.25, 0.25]: pixels mapped to [-1, 1], then divided by sqrt(16) (section 2.1)."""
        return np.asarray((self.pixels / np.float32(127.5) - 1) / 4, np.float32)


class ImageTokenizer:
    """Pictures <-> 16x16 patches in raster order.

    height, width: the size that every picture is brought to, in multiples of 16; None: the multiple nearest to the
        picture's own side, at least 16, ties up (24 becomes 32). Only a picture of another size is resampled, by
        Pillow's antialiased bicubic filter: its weights need no library function, so they are the same everywhere.
    max_pixels: a file or PIL image with more is refused before it is decoded.

    Pictures are uint8[height, width], [height, width, 1, 3 or 4], PIL images, or the bytes of a PNG, JPEG, WEBP, GIF
    or BMP. Grey becomes RGB; alpha is dropped; of 16 bits the upper 8 are kept; a palette is replaced by its colours;
    Pillow converts CMYK. The EXIF orientation is applied if it can be read; colour profiles are ignored.

    >>> tokenizer = ImageTokenizer()
    >>> picture = np.arange(32 * 16 * 3).astype(np.uint8).reshape(32, 16, 3)
    >>> patches = tokenizer.encode(picture)
    >>> patches.grid, patches.pixels.shape
    ((2, 1), (2, 16, 16, 3))
    >>> bool((tokenizer.decode(patches) == picture).all())
    True

    Raises ValueError if a side is not a positive multiple of 16.
    """

    def __init__(self, height: int | None = None, width: int | None = None, max_pixels: int = MAX_PIXELS) -> None:
        for name, side in (("height", height), ("width", width)):
            if side is not None and (side < PATCH or side % PATCH):
                raise ValueError(f"{name} must be a positive multiple of {PATCH}, not {side}")
        self.height, self.width, self.max_pixels = height, width, max_pixels

    def __repr__(self) -> str:
        return f"ImageTokenizer(height={self.height}, width={self.width}, max_pixels={self.max_pixels})"

    def __eq__(self, other: object) -> bool:
        return self._settings() == other._settings() if isinstance(other, ImageTokenizer) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._settings())

    def _settings(self) -> tuple[object, ...]:
        return self.height, self.width, self.max_pixels

    def encode(self, image: Picture) -> Patches:
        """Cut a picture into patches.

        Raises TypeError for another kind of picture; ValueError for an array of another dtype or shape, for a file that
        is broken, too large or of another format, for more than one frame, and for other modes.
        """
        if isinstance(image, np.ndarray):
            return self._patches(_checked_array(image, 2))
        if isinstance(image, Image.Image):
            return self._patches(self._decoded(image))
        return self.encode_file(image)[0]

    def encode_file(self, data: bytes | bytearray | memoryview) -> tuple[Patches, bool]:
        """(the patches of a file's picture, whether the file may be kept in their place).

        It may where any plain decoder to 8-bit RGB gives the patches: for a JPEG in grey or RGB, and for a PNG in grey,
        RGB or RGBA with 8 bits and without a palette or a transparent colour, that is whole, not turned by EXIF, not
        animated, and needs no resizing. "Plain" is libjpeg's accurate integer DCT, its default; TensorFlow's default is
        the fast one, up to 5 levels off: use `tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")`.

        Raises as `encode` does: a file that cannot be decoded is never kept.
        """
        quick = self._plain_jpeg(data)
        if quick is not None:
            return self._patches(quick), self._size(*quick.shape[:2]) == quick.shape[:2]
        image = open_picture(data)
        plain = stored_plainly(image, data)
        pixels = self._decoded(image)
        plain = plain and shown_as_stored(image) and self._size(*pixels.shape[:2]) == pixels.shape[:2]
        return self._patches(pixels), plain

    def encode_frames(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8[T, height, width] or [T, height, width, 1, 3 or 4] -> uint8[T * n, 16, 16, 3], frame after frame."""
        frames = _checked_array(plain_array(frames, name="pixel"), 3)
        height, width = self._size(*frames.shape[1:3])
        if (height, width) == frames.shape[1:3]:
            return _cut(frames)
        patches = [_cut(resized(frame, height, width)[None]) for frame in frames]
        return np.concatenate(patches) if patches else np.zeros((0, PATCH, PATCH, 3), np.uint8)

    def decode(self, patches: Patches) -> NDArray[np.uint8]:
        """Patches -> uint8[rows * 16, columns * 16, 3]: the picture that `encode` cut, after any resize."""
        rows, columns = patches.grid
        pieces = np.ascontiguousarray(patches.pixels).reshape(rows, -1).view(_Piece)  # [rows, columns * 16 * 3]
        picture = pieces.take(_exchanged(columns, PATCH), axis=1, mode="wrap")
        return picture.view(np.uint8).reshape(rows * PATCH, columns * PATCH, 3)

    def _size(self, height: int, width: int) -> tuple[int, int]:
        nearest_height, nearest_width = target_size(height, width)
        return self.height or nearest_height, self.width or nearest_width

    def _most_pixels(self, height: int, width: int) -> int:
        return max(height * width, math.prod(self._size(height, width)))  # a line of pixels grows sixteenfold

    def _plain_jpeg(self, data: Any) -> NDArray[np.uint8] | None:
        """Return the pixels of a JPEG that has nothing unusual; None for any other file, and for a broken one."""
        size = plain_jpeg_size(data) if isinstance(data, bytes) else None
        if size is None or self._most_pixels(*size[:2]) > self.max_pixels:
            return None
        return plain_jpeg_pixels(data, size)

    def _patches(self, image: NDArray[np.uint8]) -> Patches:
        height, width = self._size(*image.shape[:2])
        if (height, width) != image.shape[:2]:
            image = resized(image, height, width)
        return Patches(_cut(image[None]), (height // PATCH, width // PATCH))

    def _decoded(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return `pixels_of` an image. Raises ValueError if it has none or too many."""
        width, height = image.size
        if width < 1 or height < 1:
            raise ValueError(f"the picture has no pixels: height {height}, width {width}")
        most = self._most_pixels(height, width)
        if most > self.max_pixels:
            cure = "choose a smaller size to resize it to (resize=HEIGHTxWIDTH of a source)"
            if height * width > self.max_pixels:
                rows, columns = _fitting(height, width, self.max_pixels)
                cure = (
                    f"store the picture smaller, for example as {columns}x{rows}, since resizing comes after decoding"
                )
            raise ValueError(f"{width}x{height} needs {most} pixels, more than max_pixels={self.max_pixels}: {cure}")
        return pixels_of(image)


def _fitting(height: int, width: int, most: int) -> tuple[int, int]:
    """Return (height, width), multiples of 16 in about the same proportion, of at most `most` pixels if that is 256 or
    more."""
    factor = math.sqrt(most / (height * width))
    rows = max(min(int(height * factor), most // PATCH) // PATCH * PATCH, PATCH)
    columns = max(min(int(width * factor), most // rows) // PATCH * PATCH, PATCH)
    return rows, columns


def _checked_array(array: NDArray[Any], sides: int) -> NDArray[np.uint8]:
    """Check uint8 with `sides` leading axes and perhaps channels; only T may be 0. Raises ValueError otherwise."""
    check_unmasked(array, "pixel")
    if array.dtype != np.uint8:
        raise ValueError(f"pixels must be uint8 in 0..255, not {array.dtype}: scale them yourself")
    if array.ndim != sides and (array.ndim != sides + 1 or array.shape[-1] not in (1, 3, 4)):
        axes = ", ".join(["T", "height", "width"][-sides:])
        raise ValueError(f"expected uint8[{axes}] or [{axes}, 1, 3 or 4], got shape {list(array.shape)}")
    if array.shape[sides - 1] == 0 or array.shape[sides - 2] == 0:
        raise ValueError(f"the picture has no pixels: shape {list(array.shape)}")
    return array


def _cut(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8[T, height, width(, channels)], sides multiples of 16 -> uint8[T * n, 16, 16, 3]."""
    width = frames.shape[2]
    if frames.ndim == 3 or frames.shape[3] == 1:
        frames = np.broadcast_to(frames.reshape(*frames.shape[:3], 1), (*frames.shape[:3], 3))
    elif frames.shape[3] == 4:
        frames = frames[..., :3]
    pieces = np.ascontiguousarray(frames).reshape(-1, PATCH * width * 3).view(_Piece)  # one row of patches in each
    patches = pieces.take(_exchanged(PATCH, width // PATCH), axis=1, mode="wrap")  # this mode has no bounds check
    return patches.view(np.uint8).reshape(-1, PATCH, PATCH, 3)


@functools.lru_cache(maxsize=64)
def _exchanged(outer: int, inner: int) -> NDArray[np.intp]:
    """The flat indices that turn [outer, inner, 3] into [inner, outer, 3]."""
    return np.arange(outer * inner * 3).reshape(outer, inner, 3).swapaxes(0, 1).ravel()


def resized(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize uint8[height, width(, channels)] as `ImageTokenizer` does. Alpha is dropped first, since Pillow would
    weigh the colours by it."""
    pixels = image[..., 0] if image.shape[2:] == (1,) else image[..., :3] if image.ndim == 3 else image
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))
