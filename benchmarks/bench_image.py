"""Image patches: this package against a copy of the array, Pillow alone and a reshape, in turns, medians.

python -m benchmarks.bench_image
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
        ("224x224 decode", lambda: tokenizer.decode(patches), "array.copy", lambda: image.copy()),
        ("64 frames 64x64", lambda: tokenizer.encode_frames(frames), "array.copy", lambda: frames.copy()),
        ("64 frames 64x64", lambda: tokenizer.encode_frames(frames), "reshape", lambda: reshaped(frames)),
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
    print(f"{'ours':<16} {'us':>8}   {'alternative':<14} {'us':>8} {'ratio':>6}")
    for name, ours, other_name, other in pairs:
        medians = in_turns({"ours": ours, "other": other}, 51, 20)
        medians = {way: seconds * 1e6 for way, seconds in medians.items()}
        ratio = medians["ours"] / medians["other"]
        print(f"{name:<16} {medians['ours']:>8.1f}   {other_name:<14} {medians['other']:>8.1f} {ratio:>5.2f}x")


if __name__ == "__main__":
    main()
