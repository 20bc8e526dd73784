import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from layer_contract import TOY, LayerContract, noise, spread

from gato_model.network import attention
from gato_model.network.attention import RelativeAttention, relative_shift

HEADS, SIZE = TOY.num_heads, TOY.key_value_size
LENGTH = 11
SEGMENTS = np.array([[1] * 11, [1] * 4 + [2] * 5 + [0] * 2], np.int32)


class TestContract(LayerContract):
    shape = (2, LENGTH, 32)

    def make(self, **options):
        return RelativeAttention(TOY, **options)

    def inputs(self):
        return [noise(2, LENGTH, 32), SEGMENTS]


@pytest.fixture(scope="module")
def layer():
    return spread(RelativeAttention(TOY))


def sinusoid(distance, width):
    rates = [10_000 ** (-2 * i / width) for i in range(width // 2)]
    return np.array([math.sin(distance * rate) for rate in rates] + [math.cos(distance * rate) for rate in rates])


def reference(layer, x, segments, window=None):
    """One score after the other, in float64."""
    weights = {variable.name: np.float64(variable) for variable in layer.trainable_variables}
    kernels = weights["query_key_value"].reshape(-1, 3, HEADS, SIZE)
    far = weights["distance"].reshape(-1, HEADS, SIZE)
    u, v = weights["content_bias"][:, 0], weights["distance_bias"][:, 0]
    result = np.zeros((*x.shape[:2], HEADS, SIZE))
    for row, i, head in np.ndindex(*x.shape[:2], HEADS):
        query = x[row, i] @ kernels[:, 0, head]
        scores, values = [], []
        for j in range(i + 1):
            back = i - j
            if segments[row, j] == segments[row, i] and (window is None or back < window):
                key = x[row, j] @ kernels[:, 1, head]
                distance = sinusoid(back, x.shape[2]) @ far[:, head]
                scores.append(((query + u[head]) @ key + (query + v[head]) @ distance) / math.sqrt(SIZE))
                values.append(x[row, j] @ kernels[:, 2, head])
        likely = np.exp(np.array(scores) - max(scores))
        result[row, i, head] = likely @ np.array(values) / likely.sum()
    return result.reshape(*x.shape[:2], -1) @ weights["output"]


# By hand


def test_shift_by_hand():
    """Columns by distance 2, 1, 0 become columns by key; what stands right of the query's own key is of no use."""
    scores = tf.constant([[[[9, 2, 1, 0], [9, 2, 1, 0], [9, 2, 1, 0]]]], tf.float32)
    shifted = relative_shift(scores).numpy()[0, 0]
    assert [shifted[i, : i + 1].tolist() for i in range(3)] == [[0], [1, 0], [2, 1, 0]]


def test_a_token_alone_gets_its_own_value(layer):
    x = noise(1, 1, 32)
    values = x @ layer.query_key_value.numpy()[:, 2 * HEADS * SIZE :]
    alone = layer(x, np.ones((1, 1), np.int32))
    np.testing.assert_allclose(alone, values @ layer.output_kernel.numpy(), atol=1e-5)


def test_vectors_of_distances(layer):
    far = layer.distance_vectors(3).numpy()
    assert far.shape == (HEADS, 3, SIZE)
    kernel = layer.distance.numpy().reshape(32, HEADS, SIZE)
    np.testing.assert_allclose(far[1, 2], sinusoid(2, 32) @ kernel[:, 1], atol=1e-6)


# Against the definition


@given(st.integers(1, 9), st.integers(0, 9))
def test_shift_is_index_arithmetic(rows, more):
    columns = rows + more
    scores = np.arange(2 * 3 * rows * (1 + columns), dtype=np.float32).reshape(2, 3, rows, 1 + columns)
    shifted = relative_shift(tf.constant(scores)).numpy()
    assert shifted.shape == (2, 3, rows, columns)
    for i in range(rows):
        seen = columns - (rows - 1 - i)  # the query's own key is the last of these
        np.testing.assert_array_equal(shifted[:, :, i, :seen], scores[:, :, i, rows - i :])


@pytest.mark.parametrize("block", [3, 4, 11, 256])
@pytest.mark.parametrize("window", [None, 1, 3, 100])
def test_against_loops(layer, monkeypatch, block, window):
    monkeypatch.setattr(attention, "QUERY_BLOCK", block)
    x = noise(2, LENGTH, 32)
    attended = layer(x, SEGMENTS, window=window)
    np.testing.assert_allclose(attended, reference(layer, x, SEGMENTS, window), atol=1e-5)


def test_the_gradient_is_that_of_differences(layer, monkeypatch):
    """It is written out by hand: along a direction in all that it reaches, over the border of a block."""
    monkeypatch.setattr(attention, "QUERY_BLOCK", 7)
    watched = [tf.constant(noise(2, LENGTH, 32)), *(variable.value for variable in layer.trainable_variables)]
    direction = [noise(*tensor.shape, seed=i) for i, tensor in enumerate(watched)]
    weights = noise(2, LENGTH, 32, seed=50)

    def total(x):
        return tf.reduce_sum(layer(x, SEGMENTS) * weights)

    with tf.GradientTape() as tape:
        tape.watch(watched[0])
        result = total(watched[0])
    gradients = tape.gradient(result, watched)
    values, sums = layer.get_weights(), []
    for step in (1e-3, -1e-3):
        layer.set_weights([value + step * way for value, way in zip(values, direction[1:], strict=True)])
        sums.append(float(total(watched[0] + step * direction[0])))
    layer.set_weights(values)
    expected = sum(float(tf.reduce_sum(one * way)) for one, way in zip(gradients, direction, strict=True))
    assert (sums[0] - sums[1]) / 2e-3 == pytest.approx(expected, rel=5e-3)


# What is seen, exactly


@pytest.mark.parametrize("length", [40, 300, 600])  # over the borders of query blocks, and no multiples of them
def test_what_comes_later_changes_no_bit(layer, length):
    x, segments = noise(1, length, 32), np.ones((1, length), np.int32)
    first = layer(x, segments).numpy()
    for place in (length - 1, length // 2, min(256, length - 1), min(255, length - 1)):
        changed = x.copy()
        changed[:, place] += 100
        second = layer(changed, segments).numpy()
        np.testing.assert_array_equal(first[:, :place], second[:, :place])
        assert np.abs(first[:, place:] - second[:, place:]).max(-1).min() > 0


@pytest.mark.parametrize("block", [4, 256])
def test_a_segment_is_what_it_is_alone(layer, monkeypatch, block):
    monkeypatch.setattr(attention, "QUERY_BLOCK", block)
    x = noise(2, LENGTH, 32)
    packed = layer(x, SEGMENTS).numpy()
    alone = layer(x[1:, 4:9], np.ones((1, 5), np.int32))
    np.testing.assert_allclose(packed[1:, 4:9], alone, atol=1e-5)


@pytest.mark.parametrize("window", [1, 3, 5])
def test_a_window_ends_where_it_says(layer, window):
    x, segments = noise(1, LENGTH, 32), np.ones((1, LENGTH), np.int32)
    changed = x.copy()
    changed[:, 2] += 1
    moved = np.abs(layer(x, segments, window=window) - layer(changed, segments, window=window)).max((0, 2)) > 0
    assert moved.nonzero()[0].tolist() == list(range(2, 2 + window))
