import dataclasses
from math import erf, sqrt

import numpy as np
import pytest
import tensorflow as tf
from layer_contract import TOY, LayerContract, noise, spread

from gato_model.network.transformer import FeedForward, Transformer, TransformerBlock

LENGTH = 10
SEGMENTS = np.array([[1] * 10, [1] * 4 + [2] * 5 + [0]], np.int32)
ONE = np.ones((2, LENGTH), np.int32)


class TestFeedForwardContract(LayerContract):
    shape = (2, LENGTH, 32)

    def make(self, **options):
        return FeedForward(TOY, **options)

    def inputs(self):
        return [noise(2, LENGTH, 32)]


class TestBlockContract(TestFeedForwardContract):
    def make(self, **options):
        return TransformerBlock(TOY, **options)

    def inputs(self):
        return [noise(2, LENGTH, 32), SEGMENTS, np.float32([[1, 0.5], [2, 1]])]


class TestTransformerContract(TestFeedForwardContract):
    def make(self, **options):
        return Transformer(TOY, **options)

    def inputs(self):
        return [noise(2, LENGTH, 32), SEGMENTS]


class TestRematerializedContract(TestTransformerContract):
    def make(self, **options):
        return Transformer(TOY, rematerialize=True, **options)


@pytest.fixture(scope="module")
def transformer():
    return spread(Transformer(TOY))


@pytest.fixture(scope="module")
def block():
    return spread(TransformerBlock(dataclasses.replace(TOY, dropout=0.5)))


# Structure, by numbers


def test_geglu_gates_one_half_with_the_other():
    layer = spread(FeedForward(TOY))
    into, out = layer.get_weights()
    assert into.shape == (32, 48) and out.shape == (24, 32)  # gate and value together; half of it goes on
    x = noise(3, 2, 32)
    gate, value = np.split(x @ into, 2, axis=-1)
    gelu = gate * (1 + np.vectorize(erf)(gate / sqrt(2))) / 2
    np.testing.assert_allclose(layer(x), (gelu * value) @ out, atol=1e-5)


def normed(x, norm):
    gamma, beta = norm.get_weights()
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * gamma + beta


def test_each_sublayer_reads_a_norm_and_adds_to_the_stream(block):
    x = noise(2, LENGTH, 32)
    expected = x + block.attention(normed(x, block.norms[0]), SEGMENTS).numpy()
    expected = expected + block.feed_forward(normed(expected, block.norms[1])).numpy()
    np.testing.assert_allclose(block(x, SEGMENTS), expected, atol=1e-5)


def test_a_final_norm_stands_behind_the_blocks(transformer):
    x = noise(2, LENGTH, 32)
    expected = x
    for layer in transformer.blocks:
        expected = layer(expected, SEGMENTS)
    np.testing.assert_allclose(transformer(x, SEGMENTS), normed(expected.numpy(), transformer.norm), atol=1e-5)
    assert len(transformer.blocks) == 2


# Stochastic depth and dropout


def test_a_dropped_sublayer_leaves_the_stream_alone(block):
    x = noise(2, LENGTH, 32)
    np.testing.assert_array_equal(block(x, SEGMENTS, keep=np.zeros((2, 2), np.float32)), x)
    attention_only = x + block.attention(block.norms[0](x), SEGMENTS)
    np.testing.assert_allclose(block(x, SEGMENTS, keep=np.float32([[1, 0]] * 2)), attention_only, atol=1e-6)


def test_rows_are_dropped_one_by_one_and_the_others_scaled(block):
    x = noise(2, LENGTH, 32)
    some = block(x, SEGMENTS, keep=np.float32([[0, 0], [2, 0]]))
    np.testing.assert_array_equal(some[0], x[0])
    np.testing.assert_allclose(some[1] - x[1], 2 * block.attention(block.norms[0](x), SEGMENTS)[1], atol=1e-5)


def test_a_block_is_dropped_by_its_own_numbers(transformer):
    x, keep = noise(2, LENGTH, 32), np.zeros((2, 2, 2), np.float32)
    keep[:, 1] = 1
    expected = transformer.norm(transformer.blocks[1](x, SEGMENTS))
    np.testing.assert_allclose(transformer(x, SEGMENTS, keep=keep), expected, atol=1e-5)


def test_dropout_zeroes_half_and_doubles_the_rest(block):
    x = noise(2, LENGTH, 32)
    only_attention = np.float32([[1, 0]] * 2)
    whole = (block(x, SEGMENTS, keep=only_attention) - x).numpy()
    some = (block(x, SEGMENTS, keep=only_attention, seeds=tf.constant([[1, 2], [3, 4]])) - x).numpy()
    dropped = some == 0
    assert 0.4 < dropped.mean() < 0.6
    np.testing.assert_allclose(some[~dropped], 2 * whole[~dropped], atol=1e-5)


def test_dropout_is_a_function_of_its_seed(block):
    x = noise(2, LENGTH, 32)
    first, same, other = (block(x, SEGMENTS, seeds=tf.constant([[1, 2], [3, seed]])) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first, same)
    assert (first != other).numpy().any()


def test_no_dropout_without_seeds_or_with_rate_0(block):
    x, never = noise(2, LENGTH, 32), spread(TransformerBlock(TOY))
    np.testing.assert_array_equal(block(x, SEGMENTS), never(x, SEGMENTS, seeds=tf.constant([[1, 2], [3, 4]])))


# Rematerialisation


@pytest.mark.parametrize("compiled", [None, False, True], ids=["eager", "graph", "xla"])
def test_recomputed_gradients_are_the_same(compiled):
    """Dropout and stochastic depth, too, must fall the same way when a block is computed again."""
    config = dataclasses.replace(TOY, dropout=0.5)
    keep = tf.constant([[[1, 0], [2, 1]], [[0, 1], [1, 1]]], tf.float32)
    seeds = tf.constant(np.arange(8).reshape(2, 2, 2), tf.int32)
    x, weights = tf.constant(noise(2, LENGTH, 32)), noise(2, LENGTH, 32, seed=7)

    def gradients(transformer):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(transformer(x, SEGMENTS, keep=keep, seeds=seeds) * weights)
        return tape.gradient(total, [x, *(variable.value for variable in transformer.trainable_variables)])

    def result(rematerialize):
        transformer = spread(Transformer(config, rematerialize=rematerialize))
        call = gradients if compiled is None else tf.function(gradients, jit_compile=compiled, autograph=False)
        return call(transformer)

    for plain, recomputed in zip(result(False), result(True), strict=True):
        np.testing.assert_allclose(recomputed, plain, rtol=1e-4, atol=1e-4)


# Window


@pytest.mark.parametrize("window", [1, 3])
def test_a_window_is_each_blocks_own(transformer, window):
    """A token sees window - 1 back in each block, and by way of the blocks below further than that."""
    x = noise(2, LENGTH, 32)
    expected = x
    for layer in transformer.blocks:
        expected = layer(expected, ONE, window=window)
    np.testing.assert_allclose(transformer(x, ONE, window=window), transformer.norm(expected), atol=1e-5)
    assert np.abs(transformer(x, ONE, window=window) - transformer(x, ONE)).max() > 1e-3


def test_the_future_changes_no_bit(transformer):
    x = noise(2, 300, 32)
    changed = x.copy()
    changed[:, 257] = noise(2, 32, seed=2)
    ones = np.ones((2, 300), np.int32)
    first, second = transformer(x, ones).numpy(), transformer(changed, ones).numpy()
    np.testing.assert_array_equal(first[:, :257], second[:, :257])
    assert np.abs(first[:, 257:] - second[:, 257:]).max(-1).min() > 0
