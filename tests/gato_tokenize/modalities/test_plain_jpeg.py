"""Plain JPEGs: the pixels of `picture_file`, or None, whatever the bytes are."""

import io

import numpy as np
import pytest
from PIL import Image

from gato_tokenize.modalities.picture_file import open_picture, pixels_of
from gato_tokenize.modalities.plain_jpeg import plain_jpeg_pixels, plain_jpeg_size


def jpeg(mode="RGB", size=(40, 24), **options):
    shape = (size[1], size[0], *(() if mode == "L" else (4,) if mode == "CMYK" else (3,)))
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels, None if mode != "CMYK" else mode).save(file, "JPEG", **options)
    return file.getvalue()


def quick(data):
    size = plain_jpeg_size(data)
    return None if size is None else plain_jpeg_pixels(data, size)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 5}, {"restart_marker_rows": 1},
                {"optimize": True, "quality": 95}, {"comment": b"taken by hand"}]
)  # fmt: skip
@pytest.mark.parametrize("size", [(40, 24), (1, 1), (17, 33)])
def test_the_pixels_are_those_of_the_whole_way(mode, options, size):
    data = jpeg(mode, size, **options)
    assert plain_jpeg_size(data) == (size[1], size[0], 3 if mode == "RGB" else 1)
    assert np.array_equal(quick(data), pixels_of(open_picture(data)))


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return jpeg(exif=exif)


@pytest.mark.parametrize(
    "data",
    [
        turned(),
        jpeg("CMYK"),
        jpeg(xmp=b"<x/>"),
        jpeg(icc_profile=b"profile"),
        b"",
        b"\xff\xd8",
        b"\x89PNG",
        b"\xff\xd8\xff",
    ],
)
def test_what_is_unusual_is_left_to_it(data):
    assert plain_jpeg_size(data) is None


def test_adobes_transform_is_left_to_it():
    data = jpeg()
    assert plain_jpeg_size(data[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00" + data[2:]) is None


@pytest.mark.parametrize("progressive", [False, True])
def test_broken_files_give_the_same_pixels_or_none(progressive):
    whole = jpeg(progressive=progressive)
    generator = np.random.default_rng(1)
    broken = [whole[:cut] for cut in range(0, len(whole), 3)] + [whole + b"more"]
    for _ in range(1500):
        data = bytearray(whole)
        data[generator.integers(len(data))] ^= 1 << generator.integers(8)
        broken.append(bytes(data))
    compared = 0
    for data in broken:
        pixels = quick(data)
        if pixels is not None:
            assert np.array_equal(pixels, pixels_of(open_picture(data)))
            compared += 1
    assert 100 < compared < len(broken) - 100
