"""Transformer-XL's relative attention (Dai et al. 2019), causal, over packed sequences.

The score of query i for key j is ((q_i + u) . k_j + (q_i + v) . r_(i - j)) / sqrt(key size): the first term weighs what
stands there, the second how far back it stands. The memory at deployment (Gato, section 2.4 and appendix C.1) needs
exactly this, because a distance means the same whatever came before: see `gato_model.acting.decoder`.
"""

from typing import Any

import keras
import tensorflow as tf

from gato_model.config import GatoConfig
from gato_model.network.layer import ConfiguredLayer

QUERY_BLOCK = 256  # queries that are scored at once, by the keys up to the last of them
_NEVER = -1e9


@keras.saving.register_keras_serializable("gato")
class RelativeAttention(ConfiguredLayer):
    """Multi-head attention in which a token looks at itself and at the tokens before it in its own segment.

    call: x [B, L, width], segments int32[B, L] -> [B, L, width]
    window: a token looks at most `window` - 1 tokens back; None: to the start of its segment
    """

    def __init__(self, config: GatoConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        heads, inner = config.num_heads, config.num_heads * config.key_value_size
        glorot, zeros = "glorot_uniform", "zeros"
        self.query_key_value = self.add_weight((config.width, 3 * inner), glorot, name="query_key_value")
        self.distance = self.add_weight((config.width, inner), glorot, name="distance")
        self.output_kernel = self.add_weight((inner, config.width), glorot, name="output")
        self.content_bias = self.add_weight((heads, 1, config.key_value_size), zeros, name="content_bias")  # u
        self.distance_bias = self.add_weight((heads, 1, config.key_value_size), zeros, name="distance_bias")  # v

    def call(self, x: Any, segments: Any, window: int | None = None) -> Any:
        queries, keys, values = self.project(x)
        content, distant = self._scaled(queries, self.content_bias), self._scaled(queries, self.distance_bias)
        length = x.shape[1]
        far = self.distance_vectors(length)  # heads, length, key size; the nearest first
        blocks = []
        for start in range(0, length, QUERY_BLOCK):
            stop = min(start + QUERY_BLOCK, length)  # keys after the block's last query are never computed
            farthest_first = tf.pad(far[:, :stop][:, ::-1], ((0, 0), (1, 0), (0, 0)))
            mask = _mask(segments[:, start:stop], segments[:, :stop], window)
            here = content[:, :, start:stop], distant[:, :, start:stop]
            blocks.append(_attended(*here, keys[:, :, :stop], values[:, :, :stop], farthest_first, mask))
        return self.merge(blocks[0] if len(blocks) == 1 else tf.concat(blocks, 2))

    def project(self, x: Any) -> tuple[Any, Any, Any]:
        """Project to queries, keys and values, each [B, heads, L, key size]."""
        heads, size = self.config.num_heads, self.config.key_value_size
        projected = tf.matmul(x, tf.cast(self.query_key_value.value, x.dtype))
        split = tf.reshape(projected, (-1, x.shape[1] or tf.shape(x)[1], 3, heads, size))
        queries, keys, values = tf.unstack(tf.transpose(split, (2, 0, 3, 1, 4)), num=3)
        return queries, keys, values

    def distance_vectors(self, span: int) -> Any:
        """Compute the vectors r of distances 0 to span - 1: [heads, span, key size]."""
        heads, size = self.config.num_heads, self.config.key_value_size
        distance = tf.cast(self.distance.value, tf.float32)  # of the sinusoids, or TensorFlow takes its sparse product
        projected = tf.matmul(_sinusoids(span, self.config.width), distance)
        return tf.cast(tf.transpose(tf.reshape(projected, (span, heads, size)), (1, 0, 2)), self.compute_dtype)

    def merge(self, attended: Any) -> Any:
        """Join the heads and project them: [B, heads, L, key size] -> [B, L, width]."""
        inner = self.config.num_heads * self.config.key_value_size
        length = attended.shape[2] or tf.shape(attended)[2]
        joined = tf.reshape(tf.transpose(attended, (0, 2, 1, 3)), (-1, length, inner))
        return tf.matmul(joined, tf.cast(self.output_kernel.value, joined.dtype))

    def _scaled(self, queries: Any, bias: Any) -> Any:
        return (queries + tf.cast(bias.value, queries.dtype)) * self.config.attention_scale


@tf.custom_gradient
def _attended(content: Any, distant: Any, keys: Any, values: Any, far: Any, mask: Any) -> Any:
    """Attend with n queries to m keys: [B, heads, n, key size].

    content, distant: the scaled queries q + u and q + v, each [B, heads, n, key size]
    keys, values: [B, heads, m, key size]
    far: the vectors of distances, [heads, 1 + m, key size]: zeros, then the farthest distance first
    mask: float32[B, 1, n, m], added to the scores

    The gradient is written out because it takes half of the time. Of the [n, m] arrays it keeps only the weights, and
    it transposes small factors where automatic gradients would have XLA transpose large ones.
    """
    by_key = tf.matmul(content, keys, transpose_b=True)
    weights = _softmax(by_key + relative_shift(tf.matmul(distant, far, transpose_b=True)), mask)
    attended = tf.matmul(weights, values)

    def gradient(above: Any) -> tuple[Any, ...]:
        to_weights = tf.matmul(above, values, transpose_b=True)
        mean = tf.reduce_sum(above * attended, -1, keepdims=True)  # of to_weights under the weights
        to_scores = weights * (to_weights - mean)
        to_distances = _shift_back(to_scores)
        to_far = tf.reduce_sum(_product_of_turned(to_distances, distant), 0)
        to_keys, to_values = _product_of_turned(to_scores, content), _product_of_turned(weights, above)
        return tf.matmul(to_scores, keys), tf.matmul(to_distances, far), to_keys, to_values, to_far, None

    return attended, gradient


def _product_of_turned(large: Any, small: Any) -> Any:
    """Compute large^T small as (small^T large)^T."""
    return tf.linalg.matrix_transpose(tf.matmul(tf.linalg.matrix_transpose(small), large))


def _softmax(scores: Any, mask: Any) -> Any:
    return tf.cast(tf.nn.softmax(tf.cast(scores, tf.float32) + mask), scores.dtype)


def _mask(segments: Any, key_segments: Any, window: int | None) -> Any:
    """Compute float32[B, 1, n, m], 0 or `_NEVER`; the last key is the last query's own."""
    n, m = segments.shape[1], key_segments.shape[1]
    back = tf.range(m - n, m)[:, None] - tf.range(m)  # [queries, keys] distances
    looks = (back >= 0) if window is None else (back >= 0) & (back < window)
    return tf.where(looks & (segments[:, :, None] == key_segments[:, None]), 0.0, _NEVER)[:, None]


def relative_shift(scores: Any) -> Any:
    """Turn scores by distance into scores by key: [B, heads, n, 1 + m] -> [B, heads, n, m].

    As in Transformer-XL, appendix B. The columns are a meaningless one, then distances from the farthest to 0. Row i
    moves n - 1 - i to the left; what enters on the right belongs to keys after the query, which the mask hides.
    """
    heads, rows, columns = scores.shape[1:]
    flat = tf.reshape(scores, (-1, heads, rows * columns))
    return tf.reshape(flat[:, :, rows:], (-1, heads, rows, columns - 1))


def _shift_back(scores: Any) -> Any:
    """Compute the gradient of `relative_shift`: [B, heads, n, m] -> [B, heads, n, 1 + m]."""
    heads, rows, columns = scores.shape[1:]
    flat = tf.reshape(scores, (-1, heads, rows * columns))
    return tf.reshape(tf.pad(flat, ((0, 0), (0, 0), (rows, 0))), (-1, heads, rows, columns + 1))


def _sinusoids(span: int, width: int) -> Any:
    """Compute float32[span, width]: sines, then cosines of each distance."""
    rates = 10_000.0 ** (-tf.range(0, width, 2, dtype=tf.float32) / width)
    angles = tf.range(span, dtype=tf.float32)[:, None] * rates
    return tf.concat([tf.sin(angles), tf.cos(angles)], -1)
