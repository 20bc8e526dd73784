"""A training step of the 79M model on control data: logits where the loss looks, and at every place.

    python -m benchmarks.bench_head [--blocks 8] [--rows 2] [--repeats 5]

One place in 24 predicts. Both ways have the same loss and gradient; `everywhere` masks the other places' losses.
"""

import argparse
import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

from benchmarks.bench_train_step import our_step
from benchmarks.side_by_side import in_turns
from benchmarks.token_batches import CONTROL, LENGTH, batch
from gato_model.config import GatoConfig
from gato_model.network.losses import Losses
from gato_model.network.model import Gato


class Everywhere(Gato):
    """The same model with a loss that is masked after the head."""

    def losses(self, inputs: Any, training: Any = False) -> Losses:
        places = tf.size(inputs["targets"])
        weight = tf.scatter_nd(
            inputs["target_index"][:, None], tf.ones_like(inputs["target_index"], tf.float32), (places,)
        )
        every = {**inputs, "target_index": tf.range(places)}
        found = super().losses(every, training)
        return found._replace(weight=weight)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    config = GatoConfig.small(num_layers=arguments.blocks, stochastic_depth=0.0)
    data = batch(config, arguments.rows, CONTROL)
    calls: dict[str, Callable[[], Any]] = {}
    for name, jit in (("", False), (", XLA", True)):
        calls["where the loss looks" + name] = our_step(config, jit, data)
        calls["everywhere" + name] = our_step(config, jit, data, Everywhere)
    medians = in_turns(calls, arguments.repeats, 1)
    for name, seconds in medians.items():
        print(f"{name:<28} {seconds:>7.2f} s {arguments.rows * LENGTH / seconds:>7.0f} tokens/s")
    for name in ("", ", XLA"):
        print(f"ratio{name}: {medians['everywhere' + name] / medians['where the loss looks' + name]:.2f}x")


if __name__ == "__main__":
    main()
