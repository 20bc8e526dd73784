"""Picture files (PNG, JPEG, WEBP, GIF, BMP) to pixels: what is read, what is refused, and which need no conversion."""

import contextlib
import io
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, GifImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

# These classes are called without `Image.open`: its limit is global, its warnings cannot be caught thread-safely, and
# it makes an animation of the second picture that some cameras append to a JPEG.
_READERS: dict[bytes, type[ImageFile.ImageFile]] = {
    b"\x89PNG\r\n\x1a\n": PngImagePlugin.PngImageFile,
    b"\xff\xd8\xff": JpegImagePlugin.JpegImageFile,
    b"RIFF": WebPImagePlugin.WebPImageFile,
    b"GIF8": GifImagePlugin.GifImageFile,
    b"BM": BmpImagePlugin.BmpImageFile,
}
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"  # the last chunk, with its checksum
_FORMATS = "PNG, JPEG, WEBP, GIF or BMP"
# Modes that Pillow converts. Palettes become RGBA because Pillow warns about RGB; L and LA are grey.
_CONVERT = {
    "1": "L",
    "P": "RGBA",
    "PA": "RGBA",
    "CMYK": "RGB",
    "YCbCr": "RGB",
    "HSV": "RGB",
    "RGBa": "RGBA",
    "La": "LA",
}
_DIRECT = ("L", "LA", "RGB", "RGBA", "RGBX")
_DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_ORIENTATION = 0x0112  # the EXIF tag; `_TURNS` has its values 2 to 8 as (transpose, row step, column step)
_TURNS = {2: (0, 1, -1), 3: (0, -1, -1), 4: (0, -1, 1), 5: (1, 1, 1), 6: (1, 1, -1), 7: (1, -1, -1), 8: (1, -1, 1)}
_FILTERS_LOCK = threading.Lock()  # Python's list of warning filters belongs to all threads


def open_picture(data: bytes | bytearray | memoryview) -> ImageFile.ImageFile:
    """A file's bytes as an image of which only the header is read.

    Raises TypeError for anything but bytes, ValueError for another format or a broken header.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"expected an array, a PIL image or a file's bytes, got {type(data).__name__}")
    data = bytes(data)
    for magic, reader in _READERS.items():
        if data.startswith(magic):
            with _pillow("open"), _no_warnings():
                return reader(io.BytesIO(data))
    raise ValueError(f"not a {_FORMATS} file: it starts with {data[:8]!r}")


def pixels_of(image: Image.Image) -> NDArray[np.uint8]:
    """uint8[height, width] or [height, width, 1 to 4], turned as its EXIF orientation says.

    Raises ValueError for more than one frame, a mode that has no meaning in 8 bits, and broken data.
    """
    frames = 1
    if type(image) is not JpegImagePlugin.JpegImageFile:  # it has one, and the question is slow
        with _pillow("open"), _no_warnings():
            frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise ValueError(f"the picture has {frames} frames: take one frame yourself, image.seek(i); image.copy()")
    if image.mode not in (*_DIRECT, *_DEEP, *_CONVERT):
        raise ValueError(f"mode {image.mode} is not supported: scale it to 8 bits and convert it to RGB first")
    with _pillow("decode"):
        image.load()  # before its EXIF is read: a PNG may keep it after the pixels
        pixels: NDArray[Any] = np.asarray(image.convert(_CONVERT[image.mode]) if image.mode in _CONVERT else image)
    if pixels.dtype != np.uint8:
        pixels = _eight_bits(pixels, image.mode)
    if image.mode in ("LA", "La"):
        pixels = pixels[..., :1]
    transpose, rows, columns = _TURNS.get(orientation(image), (0, 1, 1))
    return (pixels.swapaxes(0, 1) if transpose else pixels)[::rows, ::columns]


def _eight_bits(pixels: NDArray[Any], mode: str) -> NDArray[np.uint8]:
    if pixels.min() < 0 or pixels.max() > 0xFFFF:
        raise ValueError(f"mode {mode} must hold 0 to 65535, not {pixels.min()} to {pixels.max()}")
    return (pixels >> 8).astype(np.uint8)


def stored_plainly(image: ImageFile.ImageFile, data: bytes | bytearray | memoryview) -> bool:
    """Say whether the file stores 8-bit grey, RGB or, in a PNG, RGBA. The image must not be loaded yet: loading may
    change its mode."""
    if isinstance(image, PngImagePlugin.PngImageFile):
        depth = bytes(data[24:25])  # bits a sample
        # Without its last bytes a PNG may have all its pixels: Pillow reads it, TensorFlow does not.
        whole = bytes(data[-len(_PNG_END) :]) == _PNG_END
        return depth == b"\x08" and whole and image.mode in ("RGB", "RGBA", "L")
    return isinstance(image, JpegImagePlugin.JpegImageFile) and image.mode in ("RGB", "L")


def shown_as_stored(image: Image.Image) -> bool:
    """Say whether a loaded image has no transparent colour and no EXIF orientation to apply."""
    return "transparency" not in image.info and orientation(image) not in _TURNS


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; like viewers, 1 if there is none or it cannot be read."""
    if type(image) is JpegImagePlugin.JpegImageFile and not image.info.keys() & {"exif", "xmp"}:
        return 1  # nowhere to read it from
    try:
        with _no_warnings():
            return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # the pixels are good, whatever a camera wrote there
        return 1


@contextlib.contextmanager
def _pillow(action: str) -> Iterator[None]:
    """Make a ValueError of whatever Pillow raises for a broken file, which is one of half a dozen classes."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"cannot {action} the picture: {error or type(error).__name__}") from error


@contextlib.contextmanager
def _no_warnings() -> Iterator[None]:
    with _FILTERS_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
