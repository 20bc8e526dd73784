import numpy as np
import pytest
import tensorflow as tf

from gato_model.network.stateless_random import dropout, fold_in, integers, uniform

SEED = tf.constant([3, 4])


def both(call):
    """Eager, and compiled by XLA; the seed is an argument, for what hangs on constants alone is computed beforehand."""
    return call(SEED).numpy(), tf.function(call, jit_compile=True, autograph=False)(SEED).numpy()


@pytest.mark.parametrize(
    "call",
    [
        lambda seed: uniform((3, 5), seed),
        lambda seed: integers((7,), seed),
        lambda seed: fold_in(seed, 3),
        lambda seed: dropout(tf.ones((3, 7)), 0.3, seed),
    ],
    ids=["uniform", "integers", "fold_in", "dropout"],
)
def test_xla_draws_the_same(call):
    eager, compiled = both(call)
    np.testing.assert_array_equal(eager, compiled)
    assert (call(tf.constant([3, 5])).numpy() != eager).any()


def test_uniform_fills_the_interval_evenly():
    numbers = uniform((100, 1000), SEED).numpy()
    assert numbers.dtype == np.float32 and numbers.min() >= 0 and numbers.max() < 1
    counts = np.histogram(numbers, 10, (0, 1))[0]
    assert np.abs(counts - 10_000).max() < 500  # five standard deviations


def test_uniform_is_the_upper_bits():
    bits = integers((1000,), SEED).numpy().view(np.uint32)
    np.testing.assert_array_equal(uniform((1000,), SEED), (bits >> 8) / 2**24)


def test_dropout_keeps_the_mean():
    dropped = dropout(tf.fill((1000, 100), 3.0), 0.25, SEED).numpy()
    np.testing.assert_allclose(np.unique(dropped), [0, 4])
    assert dropped.mean() == pytest.approx(3, rel=0.02)


def test_dropout_of_another_type():
    assert dropout(tf.ones((2, 3), tf.bfloat16), 0.5, SEED).dtype == tf.bfloat16


def test_folding_gives_other_seeds():
    seeds = {tuple(fold_in(SEED, i).numpy().tolist()) for i in range(10)}
    assert len(seeds) == 10
