import numpy as np
import pytest
import tensorflow as tf
from layer_contract import LayerContract, spread

from gato_model.network.position import LocalPositionEncoding, PatchPositionEncoding
from gato_tokenize.modalities.image import intervals
from gato_tokenize.sequence import ACTION_POSITION, NO_POSITION

JUST_BELOW_ONE = np.nextafter(np.float32(1), np.float32(0))


def square(pairs):
    """int32[n, 2] of one side -> int32[n, 4]: the patches of the diagonal."""
    return np.concatenate([pairs, pairs], 1).astype(np.int32)


class TestPatchContract(LayerContract):
    shape = (4, 6)

    def make(self, **options):
        return PatchPositionEncoding(16, 6, **options)

    def inputs(self):
        return [np.array([[0, 4, 8, 16], [4, 8, 0, 8], [0, 16, 0, 1], [15, 16, 3, 5]], np.int32)]


class TestLocalContract(LayerContract):
    shape = (2, 3, 6)

    def make(self, **options):
        return LocalPositionEncoding(4, 6, **options)

    def inputs(self):
        return [np.array([[0, 3, NO_POSITION], [ACTION_POSITION, 1, 1]], np.int32)]


# Patches


@pytest.fixture(scope="module")
def patches():
    return spread(PatchPositionEncoding(128, 4))


def test_evaluation_by_hand(patches):
    """Appendix C.3: 4 patches, edges 0 32 64 96 128; 5 patches, edges 0 26 51 77 102 128, half to even."""
    assert patches.positions(square(intervals(4))).numpy()[:, 0].tolist() == [16, 48, 80, 112]
    assert patches.positions(square(intervals(5))).numpy()[:, 1].tolist() == [13, 38, 64, 90, 115]


def test_row_and_column_are_added(patches):
    vector = patches(np.array([[0, 32, 64, 96]], np.int32))
    rows, columns = patches.get_weights()
    np.testing.assert_allclose(vector[0], rows[16] + columns[80], rtol=1e-6)


def test_evaluation_is_that_of_the_tokenizer_for_any_number_of_patches(patches):
    for n in range(1, 301):  # more than 128 on a side, too
        positions = patches.positions(square(intervals(n))).numpy()
        middles = [min(round((low + high) / 2), 127) for low, high in intervals(n).tolist()]  # round: half to even
        assert (positions == np.array(middles)[:, None]).all(), n


@pytest.mark.parametrize("n", [1, 3, 5, 128, 300])
def test_training_draws_from_the_interval_and_covers_it(patches, n):
    pairs = np.repeat(square(intervals(n)), 2000, 0)[:40_000]
    draws = np.random.default_rng(n).random((len(pairs), 2), np.float32)
    draws[0], draws[1] = 0, JUST_BELOW_ONE
    chosen = patches.positions(pairs, draws).numpy()
    assert (chosen >= pairs[:, 0::2]).all() and (chosen < pairs[:, 1::2]).all()
    assert set(chosen[:2000, 0]) == set(chosen[:2000, 1]) == set(range(*pairs[0, :2]))
    assert chosen[1].tolist() == (pairs[1, 1::2] - 1).tolist()


def test_rows_and_columns_are_drawn_apart(patches):
    whole = np.array([[0, 128, 0, 128]], np.int32)
    assert patches.positions(whole, np.float32([[0.25, 0.75]])).numpy().tolist() == [[32, 96]]
    assert patches.positions(whole, np.float32([[0.999, 0]])).numpy().tolist() == [[127, 0]]


def test_drawn_positions_are_the_ones_embedded(patches):
    pairs, draws = np.array([[0, 128, 0, 128]], np.int32), np.float32([[0.25, 0.75]])
    rows, columns = patches.get_weights()
    np.testing.assert_allclose(patches(pairs, draws)[0], rows[32] + columns[96], rtol=1e-6)


# Local positions


def test_local_positions_by_hand():
    layer = spread(LocalPositionEncoding(4, 6))
    table = layer.get_weights()[0]
    assert table.shape == (5, 6)
    vectors = layer(np.array([[0, 3, NO_POSITION, ACTION_POSITION, ACTION_POSITION]], np.int32)).numpy()[0]
    np.testing.assert_array_equal(vectors, [table[0], table[3], np.zeros(6), table[4], table[4]])


def test_only_rows_that_were_looked_up_learn():
    layer = spread(LocalPositionEncoding(4, 6))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(np.array([[1, NO_POSITION, ACTION_POSITION, ACTION_POSITION]], np.int32)))
    gradient = tf.convert_to_tensor(tape.gradient(total, layer.table.value)).numpy()
    assert gradient[:, 0].tolist() == [0, 1, 0, 0, 2]
