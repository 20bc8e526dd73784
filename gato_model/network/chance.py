"""Random numbers that are a function of their seed alone, compiled by XLA or not."""

from typing import Any

import tensorflow as tf

GENERATOR = "philox"  # named: what TensorFlow chooses by itself differs under XLA


def fold_in(seed: Any, data: Any) -> Any:
    """int32[2] and a number -> int32[2], another seed."""
    return tf.random.experimental.stateless_fold_in(seed, data, alg=GENERATOR)


def integers(shape: tuple[Any, ...], seed: Any) -> Any:
    """int32[*shape], all 2^32 equally likely."""
    return tf.random.stateless_uniform(shape, seed, None, None, tf.int32, alg=GENERATOR)


def uniform(shape: tuple[Any, ...], seed: Any) -> Any:
    """float32[*shape], multiples of 2^-24 in [0, 1). From integers, which XLA draws as TensorFlow does; its floats
    are others."""
    bits = tf.bitwise.right_shift(tf.bitcast(integers(shape, seed), tf.uint32), tf.constant(8, tf.uint32))
    return tf.cast(tf.bitcast(bits, tf.int32), tf.float32) * 2.0**-24


def dropout(x: Any, rate: float, seed: Any) -> Any:
    """Zero with probability `rate`, otherwise x / (1 - rate). The same again for the same seed: a block that is
    computed twice drops the same."""
    keep = uniform(tuple(tf.unstack(tf.shape(x))), seed) >= rate
    return tf.where(keep, x / (1 - rate), tf.zeros((), x.dtype))
