"""Decoding with kept keys and values against computing all 1024 tokens anew, at the sizes of the paper's 79M model.

python -m benchmarks.bench_decoding [--repeats 5]
"""

import argparse
import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from benchmarks.side_by_side import in_turns
from gato_model.acting.chunk import Chunk, batch
from gato_model.acting.decoder import Decoder
from gato_model.config import GatoConfig
from gato_model.network.model import Gato

CONTEXT, OBSERVATION, ACTIONS = 1024, 24, 1024


def tokens(count: int) -> Chunk:
    return Chunk.of_ids(np.random.default_rng(count).integers(0, 33_025, count), -1)


def uncached(model: Gato) -> Callable[[], Any]:
    """Predict the next id by a pass over the whole context, with the head only at its last token."""
    inputs = {name: tf.constant(value) for name, value in batch({0: tokens(CONTEXT)}, 1).items()}
    inputs["segments"] = tf.ones((1, CONTEXT), tf.int32)

    @tf.function(autograph=False)
    def step() -> Any:
        last = model.hidden(inputs)[:, -1]
        table = model.token_embedding.table.value[:ACTIONS]
        return tf.argmax(tf.matmul(last, table, transpose_b=True), -1)

    return lambda: step().numpy()


def cached(model: Gato, count: int) -> Callable[[], Any]:
    """Predict the next id by reading `count` new ids after a full context."""
    decoder = Decoder(model, longest=64)
    arguments = [tf.constant(value) for value in batch({0: tokens(count)}, 1).values()]
    for start in range(0, CONTEXT, 64):
        decoder.append(*batch({0: tokens(CONTEXT).slice(start, start + 64)}, 1).values())

    @tf.function(autograph=False)
    def step() -> Any:
        return decoder.choose(decoder.append(*arguments), 0, ACTIONS, tf.constant(0.0))

    return lambda: step().numpy()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    model = Gato(GatoConfig.small())
    calls = {
        "uncached": uncached(model),
        "cached, one token": cached(model, 1),
        f"cached, {OBSERVATION} tokens": cached(model, OBSERVATION),
    }
    seconds = in_turns(calls, repeats, inner=3)
    for name, value in seconds.items():
        print(f"{name:<20} {1e3 * value:8.1f} ms  {seconds['uncached'] / value:6.1f}x as fast as uncached")


if __name__ == "__main__":
    main()
