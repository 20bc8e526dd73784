"""Random numbers that are a function of their seed alone, whether XLA compiles them or not."""

from typing import Any

import tensorflow as tf

GENERATOR = "philox"  # given by name, because TensorFlow's own choice differs under XLA


def fold_in(seed: Any, data: Any) -> Any:
    """Derive another seed from a seed and a number: int32[2], int32[] -> int32[2]."""
    return tf.random.experimental.stateless_fold_in(seed, data, alg=GENERATOR)


def integers(shape: tuple[Any, ...], seed: Any) -> Any:
    """Draw int32[*shape], all 2^32 values equally likely."""
    return tf.random.stateless_uniform(shape, seed, None, None, tf.int32, alg=GENERATOR)


def uniform(shape: tuple[Any, ...], seed: Any) -> Any:
    """Draw float32[*shape], multiples of 2^-24 in [0, 1).

    They are made from integers, because XLA and TensorFlow draw the same integers but different floats.
    """
    bits = tf.bitwise.right_shift(tf.bitcast(integers(shape, seed), tf.uint32), tf.constant(8, tf.uint32))
    return tf.cast(tf.bitcast(bits, tf.int32), tf.float32) * 2.0**-24


def dropout(x: Any, rate: float, seed: Any) -> Any:
    """Replace each value by zero with probability `rate`, by x / (1 - rate) otherwise.

    The same seed gives the same zeros, so a block that is computed twice drops the same values.
    """
    keep = uniform(tuple(tf.unstack(tf.shape(x))), seed) >= rate
    return tf.where(keep, x / (1 - rate), tf.zeros((), x.dtype))
