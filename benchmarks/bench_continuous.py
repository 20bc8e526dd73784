"""Continuous tokens: this package against the paper's formula in TensorFlow, one thread, in turns, medians.

    python -m benchmarks.bench_continuous

It needs tensorflow. "compiled" is a `tf.function`, "XLA" one with jit_compile=True, "eager" the plain operations. Their
ids sometimes differ from ours, because their logarithm is float32's and moves an edge by its error; the last column
counts the differences.
"""

import os
from collections.abc import Callable
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1", TF_CPP_MIN_LOG_LEVEL="3")

import numpy as np
import tensorflow as tf

from benchmarks.side_by_side import in_turns
from gato_tokenize.modalities.continuous import ContinuousTokenizer, inverse_mu_law

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)


def formula(x: Any) -> Any:
    """Encode float32[n] to int32[n] by section 2.1 of the paper, as printed."""
    y = tf.sign(x) * tf.math.log(100.0 * tf.abs(x) + 1.0) / tf.math.log(256.0 * 100.0 + 1.0)
    bins = tf.cast((tf.clip_by_value(y, -1.0, 1.0) + 1.0) / 2.0 * 1024.0, tf.int32)
    return tf.minimum(bins, 1023) + 32000


def main() -> None:
    compiled = tf.function(formula)
    xla = tf.function(formula, jit_compile=True)
    tokenizer = ContinuousTokenizer(companded=True)
    edges = inverse_mu_law(np.arange(1, 1024) / 512 - 1).astype(np.float32)
    print(f"{'values':>9} {'what':<24} {'us':>10} {'of ours':>8} {'other ids':>9}")
    for count, repeats, inner in ((17, 101, 100), (1_000_000, 41, 1)):
        x = np.random.default_rng(0).normal(0, 3, count).astype(np.float32)
        tensor = tf.constant(x)
        calls: dict[str, Callable[[], Any]] = {
            "ours, encode": lambda x=x: tokenizer.encode(x),
            "tf.function, compiled": lambda tensor=tensor: compiled(tensor).numpy(),
            "tf.function, XLA": lambda tensor=tensor: xla(tensor).numpy(),
            "TensorFlow, eager": lambda tensor=tensor: formula(tensor).numpy(),
            "numpy.searchsorted": lambda x=x: edges.searchsorted(x, side="right") + 32000,
        }
        ours = tokenizer.encode(x)
        medians = in_turns(calls, repeats, inner)
        for name, seconds in medians.items():
            ratio = seconds / medians["ours, encode"]
            other = np.count_nonzero(np.asarray(calls[name]()) != ours)
            print(f"{count:>9} {name:<24} {seconds * 1e6:>10.1f} {ratio:>7.2f}x {other:>9}")


if __name__ == "__main__":
    main()
