"""Embedding a batch of 4 x 1,024 tokens: patches only at their places, and at every place with a mask.

    python -m benchmarks.bench_patches [--repeats 7]

Forward and backward, at 10% and at 50% patches. The alternative runs the same network over all places, as a model
without a list of its patches must, and selects by the mask.
"""

import argparse
import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from benchmarks.side_by_side import in_turns
from gato_model.config import GatoConfig
from gato_model.network.embedding import ResidualEmbedding

PLACES = 4 * 1024


def step(layer: ResidualEmbedding, share: float, everywhere: bool) -> Callable[[], Any]:
    generator = np.random.default_rng(0)
    here = np.sort(generator.permutation(PLACES)[: int(share * PLACES)]).astype(np.int32)
    all_pixels = generator.integers(0, 256, (PLACES, 16, 16, 3), np.uint8)
    pixels, index = tf.constant(all_pixels if everywhere else all_pixels[here]), tf.constant(here[:, None])
    mask = tf.constant(np.isin(np.arange(PLACES), here)[:, None])
    others = tf.constant(generator.normal(size=(PLACES, layer.config.width)).astype(np.float32))

    @tf.function(autograph=False)
    def call() -> Any:
        with tf.GradientTape() as tape:
            vectors = layer(pixels)
            if everywhere:
                x = tf.where(mask, vectors, others)
            else:
                x = tf.tensor_scatter_nd_update(others, index, vectors)
            total = tf.reduce_sum(x * x)
        return tape.gradient(total, [variable.value for variable in layer.trainable_variables])

    return lambda: [gradient.numpy() for gradient in call()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    layer = ResidualEmbedding(GatoConfig.small())
    for share in (0.1, 0.5):
        calls = {"at their places": step(layer, share, False), "everywhere": step(layer, share, True)}
        medians = in_turns(calls, repeats, 1)
        times = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in medians.items())
        print(f"{share:.0%} patches: {times}: {medians['everywhere'] / medians['at their places']:.2f}x")


if __name__ == "__main__":
    main()
