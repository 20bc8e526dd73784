import numpy as np
import pytest
import tensorflow as tf

from gato_model.network.losses import log_probabilities

GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.normal(size=(5, 40)).astype(np.float32) * 4
IDS = np.int32([[3, 3, 0], [39, 1, 2], [7, 8, 7], [0, 0, 0], [20, 21, 22]])  # some stand several times in a row


def by_tensorflow(logits, ids):
    """The same by TensorFlow's own functions and gradients."""
    chances = tf.gather(tf.nn.log_softmax(logits), ids, batch_dims=1)
    return chances, tf.argmax(logits, -1, tf.int32)


def values_and_gradient(function, logits, ids, above):
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        chances, likeliest = function(logits, ids)
        total = tf.reduce_sum(chances * above)
    return chances, likeliest, tf.convert_to_tensor(tape.gradient(total, logits))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("scale", [1, 1e4])  # of certain ones, most others have no probability at all
def test_log_probabilities_and_their_gradient_are_those_of_tensorflow(compiled, scale):
    above = GENERATOR.normal(size=IDS.shape).astype(np.float32)
    ours = tf.function(log_probabilities, jit_compile=compiled)
    found = values_and_gradient(ours, LOGITS * scale, IDS, above)
    expected = values_and_gradient(by_tensorflow, LOGITS * scale, IDS, above)
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found[2], expected[2], rtol=1e-5, atol=1e-6)


def test_of_equal_logits_the_first_is_the_likeliest():
    chances, likeliest = log_probabilities(np.zeros((2, 8), np.float32), np.int32([[0], [5]]))
    np.testing.assert_allclose(chances, np.log([[1 / 8], [1 / 8]]), rtol=1e-6)
    assert likeliest.numpy().tolist() == [0, 0]


def test_a_logit_that_is_not_finite_is_seen():
    """A step whose loss is no number is refused, so that it must not look like one."""
    for bad in (np.nan, np.inf):
        logits = LOGITS.copy()
        logits[1, 4] = bad
        chances, _ = log_probabilities(logits, IDS)
        assert not np.isfinite(chances[1]).any()
        assert np.isfinite(np.delete(chances, 1, 0)).all()


def test_no_places_have_no_losses():
    chances, likeliest = log_probabilities(np.zeros((0, 40), np.float32), np.zeros((0, 1), np.int32))
    assert (chances.shape, likeliest.shape) == ((0, 1), (0,))
