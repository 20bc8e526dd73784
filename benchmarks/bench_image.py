"""Image patches: this package against a copy of the array, Pillow alone and a reshape, in turns, medians.

python -m benchmarks.bench_image

GB/s are the bytes that are read and written. A copy moves 64 bytes at a time, and the pieces of a patch's rows are 48
bytes. "bare gather" is numpy's `take` of the same 16-byte pieces with everything prepared: what no version of it can
beat. The rest of our time goes into checks of the array, which do not grow with it.
"""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.side_by_side import in_turns
from gato_tokenize.modalities.image import ImageTokenizer


def reshaped(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image.shape[-3:-1]
    grid = image.reshape(-1, height // 16, 16, width // 16, 16, 3)
    return grid.transpose(0, 1, 3, 2, 4, 5).reshape(-1, 16, 16, 3)


def bare_gather(frames: NDArray[np.uint8]) -> Callable[[], Any]:
    """Return numpy's gather of the 16-byte pieces of the patches of uint8[T, height, width, 3], and nothing else."""
    width = frames.shape[2]
    piece = np.dtype((np.void, 16))
    pieces = frames.reshape(-1, 16 * width * 3).view(piece)
    order = np.arange(width * 3).reshape(16, width // 16, 3).swapaxes(0, 1).ravel()
    return lambda: pieces.take(order, axis=1, mode="wrap")


def main() -> None:
    generator = np.random.default_rng(0)
    tokenizer, sized = ImageTokenizer(), ImageTokenizer(224, 224)
    image = generator.integers(0, 256, (224, 224, 3), np.uint8)
    atari = generator.integers(0, 256, (210, 160, 3), np.uint8)
    frames = generator.integers(0, 256, (64, 64, 64, 3), np.uint8)
    smooth = Image.fromarray(generator.integers(0, 256, (8, 8, 3), np.uint8)).resize((224, 224))
    buffer = io.BytesIO()
    smooth.save(buffer, "JPEG")
    jpeg = buffer.getvalue()
    patches = tokenizer.encode(image)
    pairs: list[tuple[str, Callable[[], Any], str, Callable[[], Any]]] = [
        ("224x224 encode", lambda: tokenizer.encode(image), "array.copy", lambda: image.copy()),
        ("224x224 encode", lambda: tokenizer.encode(image), "reshape", lambda: reshaped(image)),
        ("224x224 encode", lambda: tokenizer.encode(image), "bare gather", bare_gather(image[None])),
        ("224x224 decode", lambda: tokenizer.decode(patches), "array.copy", lambda: image.copy()),
        ("64 frames 64x64", lambda: tokenizer.encode_frames(frames), "array.copy", lambda: frames.copy()),
        ("64 frames 64x64", lambda: tokenizer.encode_frames(frames), "reshape", lambda: reshaped(frames)),
        ("64 frames 64x64", lambda: tokenizer.encode_frames(frames), "bare gather", bare_gather(frames)),
        ("bare gather", bare_gather(image[None]), "array.copy", lambda: image.copy()),
        ("64 bare gathers", bare_gather(frames), "array.copy", lambda: frames.copy()),
        (
            "210x160 resized",
            lambda: tokenizer.encode(atari),
            "Pillow resize",
            lambda: np.asarray(Image.fromarray(atari).resize((160, 208), Image.Resampling.BICUBIC)),
        ),
        (
            "JPEG 224x224",
            lambda: sized.encode(jpeg),
            "Pillow decode",
            lambda: np.asarray(Image.open(io.BytesIO(jpeg))),
        ),
    ]
    moved = {"224x224 encode": image, "64 frames 64x64": frames, "bare gather": image, "64 bare gathers": frames}
    print(f"{'ours':<16} {'us':>8} {'GB/s':>6}   {'alternative':<14} {'us':>8} {'GB/s':>6} {'ratio':>6}")
    for name, ours, other_name, other in pairs:
        medians = in_turns({"ours": ours, "other": other}, 51, 20)
        medians = {way: seconds * 1e6 for way, seconds in medians.items()}
        ratio = medians["ours"] / medians["other"]
        speed = {way: 2e-3 * moved[name].nbytes / us if name in moved else np.nan for way, us in medians.items()}
        print(
            f"{name:<16} {medians['ours']:>8.1f} {speed['ours']:>6.1f}   {other_name:<14} {medians['other']:>8.1f}"
            f" {speed['other']:>6.1f} {ratio:>5.2f}x"
        )


if __name__ == "__main__":
    main()
