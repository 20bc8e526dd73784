"""The losses of predicted tokens, from the logits of the places that predict (Reed et al. 2022, equation 1)."""

from typing import Any, NamedTuple

import tensorflow as tf

REACH = 8


class Losses(NamedTuple):
    """The losses at the K places at which a batch predicts; padding has weight 0.

    cross_entropy  float32[K], nats
    correct        float32[K], 1 where the likeliest id is the right one
    weight         float32[K], 1 or 0
    objective      float32[K], what training makes small: the cross-entropy, smoothed if a `Smoothing` says so
    """

    cross_entropy: Any
    correct: Any
    weight: Any
    objective: Any


class Smoothing(NamedTuple):
    """The part of a target that the neighbours of a continuous value's bin share, the nearer ones more of it.

    A bin that is almost right is then better than one far off, which the cross-entropy of the one right bin does not
    say. REACH bins on either side take part, with linearly falling weights.
    """

    bins: range  # the ids of continuous values
    share: float  # in [0, 1)


def losses_of(
    logits: Any, right: Any, weight: Any, continuous: Any = None, smoothing: Smoothing | None = None
) -> Losses:
    """Compute the losses of float32[K, ids] logits whose right ids are `right`, int32[K].

    weight: float32[K], handed on. continuous: bool[K], the places to which `smoothing` applies.
    """
    ids, shares = right[:, None], tf.ones_like(weight)[:, None]
    if smoothing is not None and smoothing.share:
        near, shared = _neighbours(right, continuous, smoothing)
        ids, shares = tf.concat([ids, near], 1), tf.concat([1 - tf.reduce_sum(shared, 1, keepdims=True), shared], 1)
    chances, likeliest = log_probabilities(logits, ids)
    correct = tf.cast(likeliest == right, tf.float32)
    return Losses(-chances[:, 0], correct, weight, -tf.reduce_sum(shares * chances, 1))


def _neighbours(right: Any, continuous: Any, smoothing: Smoothing) -> tuple[Any, Any]:
    """Find the ids near each right one, int32[K, 2 REACH], and their parts of the target, float32[K, 2 REACH].

    Beyond the first and the last bin the part is 0, and the id the right one.
    """
    steps = tf.constant([step for step in range(-REACH, REACH + 1) if step], tf.int32)
    near = right[:, None] + steps
    inside = (near >= smoothing.bins.start) & (near < smoothing.bins.stop) & continuous[:, None]
    parts = tf.where(inside, tf.cast(REACH + 1 - tf.abs(steps), tf.float32), 0.0)
    parts = tf.math.divide_no_nan(parts, tf.reduce_sum(parts, 1, keepdims=True))  # a text has no neighbours
    return tf.where(inside, near, right[:, None]), smoothing.share * parts


@tf.custom_gradient
def log_probabilities(logits: Any, ids: Any) -> tuple[Any, Any]:
    """Compute the log-probabilities of ids, float32[K, n], and the likeliest id, int32[K].

    logits: float32[K, vocabulary]. ids: int32[K, n]; one may stand several times in a row.

    The logits are the largest array of a training step. TensorFlow's cross-entropy takes several times as long as a
    softmax, and the gradient of each lookup in the logits is an array of their size: here there is one for all.
    """
    probabilities = tf.nn.softmax(logits)
    likeliest = tf.argmax(logits, -1, tf.int32)
    best = likeliest[:, None]  # no probability is larger, so that its logarithm is exact
    log_sum = _at(logits, best) - tf.math.log(_at(probabilities, best))

    def gradient(above: Any, *_: Any) -> tuple[Any, None]:
        dense = -tf.reduce_sum(above, 1, keepdims=True) * probabilities
        rows = tf.broadcast_to(tf.range(tf.shape(ids)[0])[:, None], tf.shape(ids))
        return tf.tensor_scatter_nd_add(dense, tf.stack([rows, ids], -1), above), None

    return (_at(logits, ids) - log_sum, likeliest), gradient


def _at(array: Any, ids: Any) -> Any:
    return tf.gather(array, ids, batch_dims=1)
