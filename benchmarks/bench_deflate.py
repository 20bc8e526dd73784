"""Pixels of patches to zlib data, as records hold them: zlib-ng as we use it, and Python's zlib at levels 1 and 6.

    python -m benchmarks.bench_deflate [--frames 60] [--repeats 5]

The frames are those of two simulators as they are, and with a camera's noise on them (standard deviation 3 of 255).
Medians of CPU time, and bytes.
"""

import argparse
import time
import zlib

import gymnasium
import minigrid  # noqa: F401  (it registers BabyAI)
import numpy as np
from numpy.typing import NDArray

from benchmarks.side_by_side import in_turns
from gato_tokenize import ImageTokenizer
from gato_tokenize.storage.deflate import deflate


def frames(environment: str, count: int) -> NDArray[np.uint8]:
    """Render random play: uint8[count, height, width, 3], sides a multiple of 16."""
    made = gymnasium.make(environment, render_mode="rgb_array")
    made.action_space.seed(0)
    made.reset(seed=0)
    found = []
    for _ in range(count):
        if any(made.step(made.action_space.sample())[2:4]):
            made.reset()
        picture: NDArray[np.uint8] = np.asarray(made.render())
        found.append(picture[: picture.shape[0] // 16 * 16, : picture.shape[1] // 16 * 16])
    made.close()
    return np.stack(found)


def noisy(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    noise = np.random.default_rng(0).normal(scale=3, size=pictures.shape)
    return np.clip(pictures + noise, 0, 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    tokenizer = ImageTokenizer()
    for environment in ("BabyAI-GoToLocal-v0", "LunarLander-v3"):
        plain = frames(environment, arguments.frames)
        for name, pictures in (("as rendered", plain), ("with noise", noisy(plain))):
            data = np.concatenate([tokenizer.encode(picture).pixels for picture in pictures]).tobytes()
            ways = {
                "ours": lambda data=data: deflate(data),
                "zlib 1": lambda data=data: zlib.compress(data, 1),
                "zlib 6": lambda data=data: zlib.compress(data, 6),
            }
            medians = in_turns(ways, arguments.repeats, 1, time.process_time)
            print(f"{environment} {name}, {len(data) / 1e6:.0f} MB:")
            for way, compress in ways.items():
                fast, small = medians[way] / medians["ours"], len(compress()) / len(ways["ours"]())
                rate = len(data) / medians[way] / 1e6
                print(f"  {way:<7} {rate:>6.0f} MB/s  ours is {fast:.2f}x as fast, its bytes are {1 / small:.2f}x")


if __name__ == "__main__":
    main()
