"""A training step of a model of the shipped sizes, with our losses and with those of TensorFlow's own functions.

    python -m benchmarks.bench_losses [--rows 16] [--repeats 5]

The logits of all ids are the largest array of a step of a small model. One place in 10 predicts a continuous value.
Both ways have the same losses, which are compared first, and the same gradients, which a test compares. Without the
optimizer, in mixed_bfloat16.
"""

import argparse
import os
from collections.abc import Callable
from typing import Any
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from benchmarks.side_by_side import in_turns
from benchmarks.token_batches import batch
from gato_model.config import GatoConfig
from gato_model.network import losses
from gato_model.network.losses import Smoothing
from gato_model.network.model import Gato
from gato_model.shipped import model_path
from gato_tokenize.vocabulary import Kind, Vocabulary

PREDICTING = 10  # one place of so many


def by_tensorflow(logits: Any, ids: Any) -> tuple[Any, Any]:
    """Do as `log_probabilities` does, by TensorFlow's cross-entropy, lookups and gradients."""
    cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(ids[:, 0], logits)
    chosen = tf.gather(logits, ids, batch_dims=1)
    return chosen - chosen[:, :1] - cross_entropy[:, None], tf.argmax(logits, -1, tf.int32)


def step(model: Gato, data: dict[str, Any], smoothing: Smoothing | None, function: Any) -> Callable[[], Any]:
    """Return a function that computes the losses and the gradients of all weights."""
    inputs = {name: tf.constant(array) for name, array in data.items()}

    def gradients() -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            found = model.losses(inputs, smoothing=smoothing)
            total = tf.reduce_sum(found.objective * found.weight)
        every = tape.gradient(total, [variable.value for variable in model.trainable_variables])
        return total, [tf.convert_to_tensor(gradient) for gradient in every]

    with mock.patch.object(losses, "log_probabilities", function):
        traced = tf.function(gradients, autograph=False).get_concrete_function()
    return lambda: traced()[0].numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    keras.config.set_dtype_policy("mixed_bfloat16")
    config = GatoConfig.from_json((model_path("demo") / "config.json").read_text(encoding="utf-8"))
    data = batch(config, arguments.rows, PREDICTING, config.sequence_length)
    bins = Vocabulary().continuous
    data["targets"] = np.random.default_rng(1).integers(bins.start, bins.stop, data["targets"].shape, np.int32)
    data["kinds"] = np.full(data["tokens"].shape, Kind.CONTINUOUS_ACTION, np.uint8)
    model = Gato(config)
    for name, smoothing in (("plain", None), ("smoothed over neighbouring bins", Smoothing(bins, 0.3))):
        ours = step(model, data, smoothing, losses.log_probabilities)
        theirs = step(model, data, smoothing, by_tensorflow)
        np.testing.assert_allclose(ours(), theirs(), rtol=1e-5)
        medians = in_turns({"ours": ours, "TensorFlow's": theirs}, arguments.repeats, 3)
        tokens = arguments.rows * config.sequence_length
        for way, seconds in medians.items():
            print(f"{name}, {way:<14} {seconds:>6.3f} s {tokens / seconds:>7.0f} tokens/s")
        ours_takes, theirs_takes = medians.values()
        print(f"{name}: ratio {theirs_takes / ours_takes:.2f}x")


if __name__ == "__main__":
    main()
