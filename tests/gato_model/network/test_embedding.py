import dataclasses
from math import erf, sqrt

import numpy as np
import pytest
import tensorflow as tf
from layer_contract import TOY, LayerContract, noise, spread

from gato_model.network.embedding import DiscreteEmbedding, ResidualEmbedding

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)


class TestDiscreteContract(LayerContract):
    shape = (2, 3, 6)

    def make(self, **options):
        return DiscreteEmbedding(9, 6, **options)

    def inputs(self):
        return [np.array([[0, 8, 3], [3, 3, 1]], np.int32)]


class TestResidualContract(LayerContract):
    shape = (5, 32)

    def make(self, **options):
        return ResidualEmbedding(TOY, **options)

    def inputs(self):
        return [PIXELS]


# Ids


def test_lookup_and_head_by_hand():
    layer = DiscreteEmbedding(3, 2)
    layer.set_weights([np.array([[1, 2], [3, 4], [5, 6]], np.float32)])
    assert layer(np.array([[2, 0]], np.int32)).numpy().tolist() == [[[5, 6], [1, 2]]]
    logits = layer.logits(np.array([[1, 10]], np.float32))
    assert logits.numpy().tolist() == [[21, 43, 65]] and logits.dtype == tf.float32


def test_lookup_and_head_share_one_table_and_their_gradients_add():
    layer = spread(DiscreteEmbedding(5, 4))
    ids, weights = np.array([1, 3, 1]), noise(3, 5)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer.logits(layer(ids)) * weights)
    (variable,) = layer.trainable_variables
    gradient = tf.convert_to_tensor(tape.gradient(total, variable.value))
    table = layer.get_weights()[0]
    expected = weights.T @ table[ids]  # as the head's table
    np.add.at(expected, ids, weights @ table)  # and as that of the lookup
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


def test_ordered_rows_are_alike_where_their_bins_are_near():
    layer = DiscreteEmbedding(300, 64)
    before = layer.get_weights()[0]
    layer.order(range(40, 296), seed=3)
    after = layer.get_weights()[0]
    np.testing.assert_array_equal(np.delete(after, range(40, 296), 0), np.delete(before, range(40, 296), 0))
    rows = after[40:296] / np.linalg.norm(after[40:296], axis=1, keepdims=True)
    likeness = [float(np.mean(np.sum(rows[:-step] * rows[step:], 1))) for step in (1, 4, 16, 64)]
    assert likeness == sorted(likeness, reverse=True) and likeness[0] > 0.7 and likeness[-1] < 0.5
    assert after[40:296].std() == pytest.approx(0.02, rel=0.1)
    again = DiscreteEmbedding(300, 64)
    again.order(range(40, 296), seed=4)
    assert not np.array_equal(again.get_weights()[0][40:296], after[40:296])


def test_logits_stay_exact_under_mixed_precision():
    layer = spread(DiscreteEmbedding(5, 4, dtype="mixed_bfloat16"))
    assert layer.logits(tf.ones((1, 4), tf.bfloat16)).dtype == tf.float32


def test_an_id_beyond_the_table_is_an_error():
    with pytest.raises(tf.errors.InvalidArgumentError, match="9 is not in"):
        DiscreteEmbedding(9, 2)(np.array([9], np.int32))


# Patches


@pytest.fixture(scope="module")
def patches():
    return spread(ResidualEmbedding(TOY))


def test_a_patch_does_not_know_its_batch(patches):
    together = patches(PIXELS).numpy()
    for i in range(len(PIXELS)):
        np.testing.assert_allclose(patches(PIXELS[i : i + 1])[0], together[i], atol=1e-5)
    with tf.GradientTape() as tape:
        pixels = tf.Variable(PIXELS.astype(np.float32))
        total = tf.reduce_sum(patches(pixels)[2])
    assert np.abs(tape.gradient(total, pixels)).max((1, 2, 3)).nonzero()[0].tolist() == [2]


@pytest.mark.parametrize("blocks", [1, 2, 4])
def test_constant_patches_differ_from_each_other(blocks):
    """A normalisation of one number a group would make them all alike, and zeros."""
    layer = ResidualEmbedding(dataclasses.replace(TOY, patch_blocks=blocks))
    grey = np.broadcast_to(np.uint8([0, 85, 170, 255])[:, None, None, None], (4, 16, 16, 3))
    vectors = layer(np.ascontiguousarray(grey)).numpy()
    assert np.abs(vectors).max(1).min() > 0.01
    apart = np.linalg.norm(vectors[:, None] - vectors, axis=-1)[np.triu_indices(4, 1)]
    assert apart.min() > 0.01


def test_a_single_pixel_matters(patches):
    changed = PIXELS[:1].copy()
    changed[0, 15, 15, 2] ^= 128
    assert np.abs(patches(changed) - patches(PIXELS[:1])).max() > 1e-4


def test_pixels_are_scaled_to_a_quarter_at_most(patches, monkeypatch):
    """Section 2.1: [-1, 1], then divided by the square root of the side."""
    seen = []
    monkeypatch.setattr(patches, "stem", lambda x: seen.append(x) or tf.zeros((3, 8, 8, 32)))
    patches(np.broadcast_to(np.uint8([0, 51, 255])[:, None, None, None], (3, 16, 16, 3)))
    np.testing.assert_allclose(seen[0][:, 7, 7, 1], [-0.25, -0.15, 0.25], rtol=1e-6)


def test_the_number_of_residual_blocks_is_configurable():
    """Each further one: two norms of two vectors, two 3 x 3 convolutions."""
    counts = [
        ResidualEmbedding(dataclasses.replace(TOY, patch_blocks=blocks)).count_params() for blocks in (1, 2, 5)
    ]  # fmt: skip
    block = 2 * (2 * 32 + 9 * 32 * 32 + 32)
    assert (counts[1] - counts[0], counts[2] - counts[1]) == (block, 3 * block)


def test_against_the_same_network_in_numpy(patches):
    """Convolutions as explicit sums: paddings and strides are those of TensorFlow's 'same'."""
    weights = iter(patches.get_weights())
    x = (PIXELS / 127.5 - 1) / 4
    names = [variable.path for variable in patches.trainable_variables]
    assert len(names) == 2 + (4 + 4 + 2) + 2 + 2
    stem = (next(weights), next(weights))
    norms = [(next(weights), next(weights)) for _ in range(2)]
    convolutions = [(next(weights), next(weights)) for _ in range(2)]
    shortcut, last, projection = [(next(weights), next(weights)) for _ in range(3)]
    x = convolved(x, *stem, stride=2)
    inner = convolved(gelu(normed(x, *norms[0])), *convolutions[0], stride=1)
    inner = convolved(gelu(normed(inner, *norms[1])), *convolutions[1], stride=2)
    x = inner + convolved(x, *shortcut, stride=2)
    x = gelu(normed(x, *last)).reshape(len(PIXELS), -1) @ projection[0] + projection[1]
    np.testing.assert_allclose(patches(PIXELS), x, atol=1e-4)


def convolved(x, kernel, bias, stride):
    n, side = x.shape[0], x.shape[1] // stride
    size = kernel.shape[0]
    over = max((side - 1) * stride + size - x.shape[1], 0)
    x = np.pad(x, ((0, 0), *[(over // 2, over - over // 2)] * 2, (0, 0)))
    out = np.zeros((n, side, side, kernel.shape[3]))
    for row in range(side):
        for column in range(side):
            field = x[:, row * stride : row * stride + size, column * stride : column * stride + size]
            out[:, row, column] = np.tensordot(field, kernel, 3)
    return out + bias


def normed(x, gamma, beta, groups=32):
    grouped = x.reshape(len(x), -1, groups, x.shape[-1] // groups)
    mean, variance = grouped.mean((1, 3), keepdims=True), grouped.var((1, 3), keepdims=True)
    return ((grouped - mean) / np.sqrt(variance + 1e-3)).reshape(x.shape) * gamma + beta


def gelu(x):
    return x * (1 + np.vectorize(erf)(x / sqrt(2))) / 2
