import io
import struct
import sys
import threading
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from gato_tokenize.modalities.image import ImageTokenizer, Patches, intervals, target_size

tokenizer = ImageTokenizer()


def noise(*shape):
    return np.random.default_rng(len(shape)).integers(0, 256, shape, dtype=np.uint8)


def saved(image, kind="PNG", **options):
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def picture(image):
    """The picture that the tokenizer sees, put together again."""
    return tokenizer.decode(tokenizer.encode(image))


def by_loop(image):
    """uint8[height, width, 3] -> patches, one after the other."""
    height, width = image.shape[:2]
    return np.array([image[y : y + 16, x : x + 16] for y in range(0, height, 16) for x in range(0, width, 16)])


# By hand


def test_four_patches_in_raster_order():
    image = np.zeros((32, 32, 3), np.uint8)
    image[:16, 16:], image[16:, :16], image[16:, 16:] = 1, 2, 3
    image[16, 0, 0] = 9  # the third patch's first pixel, red
    patches = tokenizer.encode(image)
    assert patches.grid == (2, 2)
    assert patches.pixels.shape == (4, 16, 16, 3) and patches.pixels.dtype == np.uint8
    assert patches.pixels[:, 15, 15, 2].tolist() == [0, 1, 2, 3]
    assert patches.pixels[2, 0, 0].tolist() == [9, 2, 2]


def test_scaled_runs_from_minus_to_plus_a_quarter():
    pixels = np.zeros((1, 16, 16, 3), np.uint8)
    pixels[0, 0, 0] = [0, 255, 51]
    scaled = Patches(pixels, (1, 1)).scaled
    assert scaled.dtype == np.float32
    assert scaled[0, 0, 0].tolist() == [-0.25, 0.25, np.float32(-0.15)]  # 51 / 255 = 0.2, to -0.6, / 4


def test_intervals_of_the_paper():
    assert intervals(4).tolist() == [[0, 32], [32, 64], [64, 96], [96, 128]]
    assert intervals(5)[:, 0].tolist() == [0, 26, 51, 77, 102]


@pytest.mark.parametrize(
    "side, nearest", [(1, 16), (16, 16), (23, 16), (24, 32), (39, 32), (40, 48), (56, 64), (55, 48), (210, 208)]
)
def test_the_nearest_multiple(side, nearest):
    assert target_size(side, 64) == (nearest, 64)
    assert target_size(32, side) == (32, nearest)


# Positions


@given(st.integers(1, 1000), st.integers(1, 300))
def test_intervals_against_python_s_round(n, quantization):
    low, high = intervals(n, quantization).T
    edges = [round(i * quantization / n) for i in range(n + 1)]
    assert low.tolist() == [min(edge, quantization - 1) for edge in edges[:-1]]
    assert high.tolist() == [max(edge, floor + 1) for edge, floor in zip(edges[1:], low.tolist(), strict=True)]
    assert ((low >= 0) & (low < high) & (high <= quantization)).all()


@pytest.mark.parametrize("n, quantization", [(0, 128), (-1, 128), (4, 0)])
def test_intervals_of_nothing(n, quantization):
    with pytest.raises(ValueError, match="must be at least 1"):
        intervals(n, quantization)


# Patching


@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from([(), (1,), (3,), (4,)]), st.booleans())
def test_arrays_against_a_loop(rows, columns, channels, strided):
    image = noise(rows * 16, columns * 16, *channels)
    if strided:
        image = np.asfortranarray(image)[::-1]
    if channels in [(3,), (4,)]:
        rgb = image[..., :3]
    else:
        rgb = np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    patches = tokenizer.encode(image)
    assert patches.grid == (rows, columns)
    assert (patches.pixels == by_loop(rgb)).all()
    assert (tokenizer.decode(patches) == rgb).all()


@pytest.mark.parametrize("shape", [(32, 48), (32, 48, 1), (32, 48, 3), (32, 48, 4), (20, 50), (20, 50, 1), (20, 50, 4)])
@pytest.mark.parametrize("sizes", [(), (64, 16)])
def test_frames_are_the_patches_of_each_picture(shape, sizes):
    frames = noise(3, *shape)
    each = [ImageTokenizer(*sizes).encode(frame).pixels for frame in frames]
    assert (ImageTokenizer(*sizes).encode_frames(frames) == np.concatenate(each)).all()


@pytest.mark.parametrize("side", [16, 20])
def test_no_frames(side):
    assert tokenizer.encode_frames(np.zeros((0, side, 32, 3), np.uint8)).shape == (0, 16, 16, 3)


@pytest.mark.parametrize("side", [32, 20])
def test_arrays_that_lie_oddly_in_memory(side):
    image = noise(side, side, 3)
    backwards, one = image[::-1, ::-1, ::-1], np.broadcast_to(np.uint8(7), (side, side, 3))
    assert (picture(backwards) == picture(backwards.copy())).all()
    assert (picture(one) == 7).all()
    patches = tokenizer.encode(image)
    upside_down = Patches(patches.pixels[::-1, ::-1, ::-1, ::-1], patches.grid)
    assert (tokenizer.decode(upside_down) == picture(image)[::-1, ::-1, ::-1]).all()


def test_patches_are_a_copy():
    image = noise(16, 16, 3)
    before = image.copy()
    tokenizer.encode(image).pixels[:] = 0
    tokenizer.encode_frames(image[None])[:] = 0
    assert (image == before).all()


def test_resizing_is_pillow_s_bicubic_with_antialiasing():
    image = noise(100, 70, 3)
    expected = np.asarray(Image.fromarray(image).resize((64, 96), Image.Resampling.BICUBIC))
    assert (picture(image) == expected).all()
    checkerboard = np.indices((160, 160)).sum(0).astype(np.uint8) % 2 * 255
    assert np.abs(ImageTokenizer(16, 16).encode(checkerboard).pixels.astype(int) - 127).max() <= 1


def test_given_sizes():
    fixed = ImageTokenizer(height=32, width=64)
    assert fixed.encode(noise(5, 500)).grid == (2, 4)
    assert ImageTokenizer(width=64).encode(noise(32, 500)).grid == (2, 4)
    assert ImageTokenizer(height=64).encode(noise(10, 40)).grid == (4, 3)
    same = noise(32, 64, 3)
    assert (fixed.decode(fixed.encode(same)) == same).all()


def test_a_resized_transparent_picture_keeps_the_colours_under_its_alpha():
    image = np.full((20, 20, 4), 200, np.uint8)
    image[..., 3] = noise(20, 20)
    assert (tokenizer.encode(image).pixels == 200).all()


# Files and PIL images


@pytest.mark.parametrize("kind, mode", [("PNG", "RGB"), ("PNG", "RGBA"), ("BMP", "RGB"), ("WEBP", "RGB"), ("GIF", "L")])
def test_lossless_files_and_pil_images_give_the_array_s_patches(kind, mode):
    image = Image.fromarray(noise(32, 48, 4)).convert(mode)
    data = saved(image, kind, **({"lossless": True} if kind == "WEBP" else {}))
    expected = tokenizer.encode(np.asarray(image))
    for source in (data, bytearray(data), memoryview(data), image, Image.open(io.BytesIO(data))):
        patches = tokenizer.encode(source)
        assert patches.grid == (2, 3)
        assert (patches.pixels == expected.pixels).all()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_is_what_pillow_decodes(mode):
    data = saved(Image.fromarray(noise(32, 48, 3)).convert(mode), "JPEG")
    assert (picture(data) == np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))).all()


def test_the_picture_that_a_camera_appends_to_its_jpeg_is_left_out():
    first, second = Image.fromarray(noise(16, 16, 3)), Image.fromarray(noise(16, 32, 3))
    data = saved(first, "MPO", save_all=True, append_images=[second])
    assert (picture(data) == picture(saved(first, "JPEG"))).all()
    assert tokenizer.encode_file(data)[1]


def test_sixteen_bits_keep_the_upper_eight():
    deep = noise(16, 16).astype(np.uint16) << 8 | noise(16, 16, 2)[..., 0]
    expected = np.repeat((deep >> 8).astype(np.uint8)[..., None], 3, axis=2)
    assert (picture(saved(Image.fromarray(deep))) == expected).all()
    for image in (Image.fromarray(deep), Image.fromarray(deep.astype(">u2")), Image.fromarray(deep.astype(np.int32))):
        assert image.mode.startswith("I")
        assert (picture(image) == expected).all()


@pytest.mark.parametrize("value", [-1, 65536])
def test_integers_beyond_sixteen_bits_are_refused(value):
    with pytest.raises(ValueError, match=f"mode I must hold 0 to 65535, not .*{value}"):
        tokenizer.encode(Image.fromarray(np.full((16, 16), value, np.int32)))


def palette_image():
    image = Image.fromarray((np.indices((16, 16)).sum(0) % 3).astype(np.uint8), "P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    return image


@pytest.mark.parametrize(
    "kind, transparency", [("PNG", None), ("PNG", 1), ("PNG", b"\x00\x80\xff"), ("GIF", None), ("GIF", 1)]
)
def test_palettes_become_their_colours(kind, transparency):
    colours = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]])[np.indices((16, 16)).sum(0) % 3]
    data = saved(palette_image(), kind, **({} if transparency is None else {"transparency": transparency}))
    assert (picture(data) == colours).all()
    assert (picture(Image.open(io.BytesIO(data))) == colours).all()
    assert not tokenizer.encode_file(data)[1]


@pytest.mark.parametrize("mode", ["1", "LA", "PA", "La", "RGBa", "RGBX", "YCbCr", "HSV"])
def test_other_modes(mode):
    solid = np.zeros((16, 16, 4), np.uint8)
    solid[:, 8:] = 255
    solid[..., 3] = 255
    image = Image.fromarray(solid)
    image = image.convert("LA").convert("La") if mode == "La" else image.convert("LA") if mode == "LA" else image
    image = palette_image().convert("PA") if mode == "PA" else image
    if image.mode not in (mode, "PA"):
        image = (image if mode == "RGBa" else image.convert("RGB")).convert(mode)
    assert image.mode == mode
    expected = np.asarray(palette_image().convert("RGB")) if mode == "PA" else solid[..., :3]
    assert np.abs(picture(image).astype(int) - expected).max() <= 1


def test_the_alpha_of_grey_is_dropped():
    image = noise(16, 16, 2)
    assert (picture(Image.fromarray(image, "LA")) == image[..., :1]).all()
    assert (picture(saved(Image.fromarray(image, "LA"))) == image[..., :1]).all()


@pytest.mark.parametrize("mode", ["F", "LAB"])
def test_modes_that_are_refused(mode):
    with pytest.raises(ValueError, match=f"mode {mode} is not supported: .* convert it to RGB first"):
        tokenizer.encode(Image.new(mode, (16, 16)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_camera_is_applied(kind, orientation):
    data = saved(noise(32, 48, 3), kind, exif=turned(orientation))
    opened = Image.open(io.BytesIO(data))
    expected = np.asarray(ImageOps.exif_transpose(opened))
    assert expected.shape[:2] == ((32, 48) if orientation < 5 else (48, 32))
    assert (picture(data) == expected).all()
    assert (picture(Image.open(io.BytesIO(data))) == expected).all()
    assert tokenizer.encode_file(data)[1] == (kind != "WEBP" and orientation == 1)


def test_an_orientation_after_the_pixels_of_a_png():
    data = saved(noise(32, 48, 3))
    body = turned(6).tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(body)) + b"eXIf" + body + struct.pack(">I", zlib.crc32(b"eXIf" + body))
    late = data[:-12] + chunk + data[-12:]  # before IEND
    assert tokenizer.encode(data).grid == (2, 3)
    assert tokenizer.encode(late).grid == (3, 2)
    assert not tokenizer.encode_file(late)[1]


WORD_FOR_A_NUMBER = b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\2\0\0\0\4abc\0\0\0\0\0"  # orientation, ASCII, 4: "abc"


@pytest.mark.parametrize(
    "exif",
    [b"Exif\0\0nonsense", WORD_FOR_A_NUMBER, turned(0).tobytes(), turned(9).tobytes(), turned(6).tobytes()[:-9]],
)
def test_an_unreadable_orientation_is_none(exif):
    image = noise(32, 48, 3)
    data = saved(image, "JPEG", exif=exif)
    assert (picture(data) == picture(saved(image, "JPEG"))).all()


def test_bytes_that_may_be_stored():
    grey, rgb, rgba = (Image.fromarray(noise(32, 48, 4)).convert(mode) for mode in ("L", "RGB", "RGBA"))
    for image in (grey, rgb):
        assert tokenizer.encode_file(saved(image, "JPEG", progressive=True))[1]
    for image in (grey, rgb, rgba):
        assert tokenizer.encode_file(saved(image))[1]
    patches, plain = tokenizer.encode_file(saved(rgb))
    assert plain and (patches.pixels == tokenizer.encode(rgb).pixels).all()
    assert ImageTokenizer(32, 48).encode_file(saved(rgb))[1]
    assert not ImageTokenizer(32, 32).encode_file(saved(rgb))[1]
    assert not ImageTokenizer(height=64).encode_file(saved(rgb))[1]


def test_bytes_that_may_not_be_stored():
    rgb = Image.fromarray(noise(32, 48, 3))
    refused = {
        "cmyk": saved(rgb.convert("CMYK"), "JPEG"),
        "palette": saved(rgb.quantize(16)),
        "two bits": saved(rgb.quantize(4), bits=2),
        "one bit": saved(rgb.convert("1")),
        "grey with alpha": saved(rgb.convert("LA")),
        "transparent colour": saved(rgb, transparency=(1, 2, 3)),
        "transparent grey": saved(rgb.convert("L"), transparency=7),
        "sixteen bits": saved(Image.fromarray(noise(32, 48).astype(np.uint16))),
        "width": saved(rgb.crop((0, 0, 47, 32)), "JPEG"),
        "height": saved(rgb.crop((0, 0, 48, 33))),
        **{kind: saved(rgb, kind) for kind in ("BMP", "WEBP", "GIF")},
    }
    assert {name for name, data in refused.items() if tokenizer.encode_file(data)[1]} == set()


def test_the_depth_is_looked_for_in_a_png_alone():
    data = saved(Image.new("RGB", (16, 513 * 16)), "WEBP", lossless=True)
    assert data[24] == 8  # where a PNG has its depth, WEBP has some bits of its height
    assert not tokenizer.encode_file(data)[1]


def test_an_rgb_png_of_sixteen_bits_keeps_the_upper_eight_and_is_not_stored():
    rows = b"".join(b"\0" + b"\x12\xff\x34\x80\x56\x00" * 16 for _ in range(16))
    parts = [(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n"
    for name, body in parts:
        data += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    assert (picture(data) == [0x12, 0x34, 0x56]).all()
    assert not tokenizer.encode_file(data)[1]


# Refusals


@pytest.mark.parametrize(
    "array, message",
    [
        (np.zeros((16, 16, 3)), "pixels must be uint8 in 0..255, not float64: scale them yourself"),
        (np.zeros((16, 16), np.uint16), "pixels must be uint8 in 0..255, not uint16"),
        (np.zeros((16, 16), bool), "pixels must be uint8 in 0..255, not bool"),
        (np.zeros((16, 16, 2), np.uint8), r"expected uint8\[height, width\] or .*, got shape \[16, 16, 2\]"),
        (np.zeros((3, 16, 16), np.uint8), r"got shape \[3, 16, 16\]"),
        (np.zeros((16,), np.uint8), r"got shape \[16\]"),
        (np.zeros((1, 16, 16, 3), np.uint8), r"got shape \[1, 16, 16, 3\]"),
        (np.zeros((0, 16, 3), np.uint8), r"the picture has no pixels: shape \[0, 16, 3\]"),
        (np.zeros((16, 0), np.uint8), r"the picture has no pixels: shape \[16, 0\]"),
    ],
)
def test_arrays_that_are_refused(array, message):
    with pytest.raises(ValueError, match=message):
        tokenizer.encode(array)


@pytest.mark.parametrize(
    "frames, message",
    [
        (np.zeros((2, 16, 16, 3)), "not float64"),
        (np.zeros((16, 16), np.uint8), r"expected uint8\[T, height, width\] or \[T, height, width, 1, 3 or 4\]"),
        (np.zeros((2, 16, 16, 5), np.uint8), r"got shape \[2, 16, 16, 5\]"),
        (np.zeros((2, 0, 16, 3), np.uint8), "no pixels"),
        (np.zeros((2, 16, 0), np.uint8), "no pixels"),
    ],
)
def test_frames_that_are_refused(frames, message):
    with pytest.raises(ValueError, match=message):
        tokenizer.encode_frames(frames)


def test_a_pil_image_without_pixels():
    with pytest.raises(ValueError, match="the picture has no pixels: height 5, width 0"):
        tokenizer.encode(Image.new("RGB", (0, 5)))


@pytest.mark.parametrize("value", [None, "picture.png", [[1]], 7, io.BytesIO(b"")])
def test_what_is_no_picture_at_all(value):
    with pytest.raises(TypeError, match="expected an array, a PIL image or a file's bytes, got "):
        tokenizer.encode(value)


@pytest.mark.parametrize("data", [b"", b"GIF", b"hello, world", b"%PDF-1.4", saved(noise(16, 16, 3), "TIFF")])
def test_other_formats(data):
    with pytest.raises(ValueError, match="not a PNG, JPEG, WEBP, GIF or BMP file: it starts with b'"):
        tokenizer.encode(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
@pytest.mark.parametrize("kept", [0.05, 0.3, 0.6, 0.9])
def test_truncated_files(kind, kept):
    data = saved(noise(64, 64, 3), kind)
    for call in (tokenizer.encode, tokenizer.encode_file):
        with pytest.raises(ValueError, match="cannot (open|decode) the picture: .") as caught:
            call(data[: int(len(data) * kept)])
        assert caught.value.__cause__ is not None


@given(st.data(), st.sampled_from(["PNG", "JPEG", "WEBP", "BMP", "GIF"]))
def test_broken_bytes_give_patches_or_a_value_error_and_no_warning(data, kind):
    """pytest makes an error of every warning."""
    broken = bytearray(saved(palette_image() if kind == "GIF" else noise(16, 16, 3), kind, exif=turned(6).tobytes()))
    for _ in range(data.draw(st.integers(1, 8))):
        broken[data.draw(st.integers(0, min(len(broken), 200) - 1))] = data.draw(st.integers(0, 255))
    try:
        patches = ImageTokenizer(max_pixels=1 << 16).encode(bytes(broken))
    except ValueError:
        return
    assert patches.pixels.shape[1:] == (16, 16, 3)


def test_a_broken_pil_image():
    data = saved(noise(64, 64, 3))
    with pytest.raises(ValueError, match="cannot decode the picture") as caught:
        tokenizer.encode(Image.open(io.BytesIO(data[:3000])))
    assert isinstance(caught.value.__cause__, OSError)


def huge_png(width, height):
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    end = saved(noise(16, 16, 3))[33:]
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0d" + header + struct.pack(">I", zlib.crc32(header)) + end


@pytest.mark.parametrize("sides", [(9460, 9460), (20000, 20000), (2**31 - 1, 2**31 - 1)])
def test_decompression_bombs_are_refused_by_their_header(sides):
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(ValueError, match=rf"{sides[0]}x{sides[1]} needs \d+ pixels, more than max_pixels=89478485"):
        tokenizer.encode(huge_png(*sides))
    assert before == Image.MAX_IMAGE_PIXELS


def test_the_limit_is_the_tokenizer_s_own(monkeypatch):
    data = saved(noise(32, 32, 3))
    with pytest.raises(ValueError, match="32x32 needs 1024 pixels, more than max_pixels=1023"):
        ImageTokenizer(max_pixels=1023).encode(data)
    with pytest.raises(ValueError, match="max_pixels=1023"):
        ImageTokenizer(max_pixels=1023).encode(Image.open(io.BytesIO(data)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # would be an error in `Image.open`
    assert ImageTokenizer(max_pixels=1024).encode(data).grid == (2, 2)


@pytest.mark.parametrize("shape", [(64, 96), (1, 6000), (300, 20)])
def test_the_size_that_a_refusal_names_is_small_enough(shape):
    limited = ImageTokenizer(max_pixels=5000)
    with pytest.raises(ValueError, match="store the picture smaller") as refused:
        limited.encode(saved(Image.new("L", shape[::-1])))
    width, height = map(int, str(refused.value).partition("for example as ")[2].split(",")[0].split("x"))
    rows, columns = limited.encode(saved(Image.new("L", (width, height)))).grid
    assert (rows * 16, columns * 16) == (height, width)


def test_a_line_that_would_grow_beyond_the_limit():
    line = Image.new("L", (4096, 1))
    with pytest.raises(ValueError, match="4096x1 needs 65536 pixels.*: choose a smaller size to resize it to"):
        ImageTokenizer(max_pixels=65535).encode(saved(line))
    assert ImageTokenizer(16, 16, max_pixels=65535).encode(saved(line)).grid == (1, 1)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_animations_are_refused(kind):
    frames = [Image.fromarray(noise(16, 16, 3)), Image.fromarray(255 - noise(16, 16, 3))]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    for source in (data, Image.open(io.BytesIO(data))):
        with pytest.raises(ValueError, match="the picture has 2 frames: take one frame yourself"):
            tokenizer.encode(source)
    with pytest.raises(ValueError, match="2 frames"):
        tokenizer.encode_file(data)
    animation = Image.open(io.BytesIO(data))
    animation.seek(1)
    assert tokenizer.encode(animation.copy()).grid == (1, 1)


@pytest.mark.parametrize("sizes", [(24, 16), (16, 100), (0, 16), (16, -16)])
def test_sizes_that_are_refused(sizes):
    with pytest.raises(ValueError, match="must be a positive multiple of 16, not "):
        ImageTokenizer(*sizes)


@pytest.mark.parametrize(
    "pixels, grid",
    [
        (np.zeros((3, 16, 16, 3), np.uint8), (2, 2)),
        (np.zeros((4, 16, 16), np.uint8), (2, 2)),
        (np.zeros((4, 16, 16, 3)), (2, 2)),
        (np.zeros((0, 16, 16, 3), np.uint8), (0, 2)),
    ],
)
def test_patches_that_are_none(pixels, grid):
    with pytest.raises(ValueError, match=f"a grid of {grid[0]}x{grid[1]} needs uint8"):
        Patches(pixels, grid)


def test_threads_do_not_disturb_each_other_s_warnings():
    data = saved(noise(16, 16, 3), "JPEG", exif=turned(6).tobytes()[:-9])
    filters = list(warnings.filters)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=lambda: [tokenizer.encode(data) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(interval)
    assert warnings.filters == filters


def test_a_png_cut_after_its_pixels_is_kept_as_patches():
    """Pillow decodes it whole; TensorFlow, for one, refuses it, so its bytes must not be kept."""
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 32, 3), dtype=np.uint8)).save(out, "png")
    whole = out.getvalue()
    assert ImageTokenizer().encode_file(whole)[1]
    for missing in (1, 4, 12):
        patches, plain = ImageTokenizer().encode_file(whole[:-missing])
        assert not plain
        assert np.array_equal(patches.pixels, ImageTokenizer().encode(whole).pixels)
