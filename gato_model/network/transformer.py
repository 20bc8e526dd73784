"""The transformer: blocks of relative attention and gated feed-forward, each after a norm (appendix C.1)."""

import math
from typing import Any

import keras
import tensorflow as tf

from gato_model.config import GatoConfig
from gato_model.network.attention import RelativeAttention
from gato_model.network.layer import ConfiguredLayer
from gato_model.network.stateless_random import dropout


@keras.saving.register_keras_serializable("gato")
class FeedForward(ConfiguredLayer):
    """GEGLU (Shazeer 2020; appendix C.1): half of the inner vector, through GELU, gates the other half."""

    def __init__(self, config: GatoConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        inner = config.feed_forward_size
        self.gate_and_value = self.add_weight((config.width, inner), "glorot_uniform", name="gate_and_value")
        self.output_kernel = self.add_weight((inner // 2, config.width), "glorot_uniform", name="output")

    def call(self, x: Any) -> Any:
        gate, value = tf.split(tf.matmul(x, tf.cast(self.gate_and_value.value, x.dtype)), 2, axis=-1)
        return tf.matmul(_gated(gate, value), tf.cast(self.output_kernel.value, x.dtype))


@tf.custom_gradient
def _gated(gate: Any, value: Any) -> Any:
    """Compute GELU(gate) value, whatever the precision of the two in float32.

    The gradient is written out because the automatic one takes seven products of whole arrays where this takes four.
    """
    gates, values = tf.cast(gate, tf.float32), tf.cast(value, tf.float32)
    chance = 0.5 + 0.5 * tf.math.erf(gates * math.sqrt(0.5))  # of a normal number below the gate
    gelu = gates * chance

    def gradient(above: Any) -> tuple[Any, Any]:
        over = tf.cast(above, tf.float32)
        slope = chance + gates * tf.exp(-0.5 * gates * gates) * (1 / math.sqrt(2 * math.pi))
        return tf.cast(over * values * slope, gate.dtype), tf.cast(over * gelu, value.dtype)

    return tf.cast(gelu * values, value.dtype), gradient


@keras.saving.register_keras_serializable("gato")
class TransformerBlock(ConfiguredLayer):
    """Attention and feed-forward; each reads a norm of the residual stream and adds to the stream.

    call: x [B, L, width], segments int32[B, L] -> [B, L, width]
    keep: float32[B, 2], the factor of each sub-layer's output, 0 where stochastic depth drops it; None: 1
    seeds: int32[2, 2] of the sub-layers' dropout; None: no dropout
    window: as in `RelativeAttention`
    """

    def __init__(self, config: GatoConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.norms = [_norm(config, self.dtype_policy) for _ in range(2)]
        self.attention = RelativeAttention(config, dtype=self.dtype_policy)
        self.feed_forward = FeedForward(config, dtype=self.dtype_policy)
        self.built = True

    def call(self, x: Any, segments: Any, keep: Any = None, seeds: Any = None, window: int | None = None) -> Any:
        attended = self.attention(self.norms[0](x), segments, window=window)
        x = x + self._regularised(attended, 0, keep, seeds)
        return x + self._regularised(self.feed_forward(self.norms[1](x)), 1, keep, seeds)

    def _regularised(self, x: Any, sublayer: int, keep: Any, seeds: Any) -> Any:
        if seeds is not None and self.config.dropout:
            x = dropout(x, self.config.dropout, seeds[sublayer])
        return x if keep is None else x * tf.cast(keep[:, sublayer], x.dtype)[:, None, None]


def _norm(config: GatoConfig, dtype: Any) -> Any:
    norm = keras.layers.LayerNormalization(epsilon=1e-6, dtype=dtype)
    norm.build((None, None, config.width))
    return norm


@keras.saving.register_keras_serializable("gato")
class Transformer(ConfiguredLayer):
    """The blocks and the final norm.

    call: x [B, L, width], segments int32[B, L] -> [B, L, width]
    keep, seeds: float32[B, blocks, 2] and int32[blocks, 2, 2], as in `TransformerBlock`
    window: as in `RelativeAttention`

    With `rematerialize` a block's inner values are computed again for the gradient instead of kept.
    """

    def __init__(self, config: GatoConfig, rematerialize: bool = False, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.rematerialize = rematerialize
        self.blocks = [TransformerBlock(config, dtype=self.dtype_policy) for _ in range(config.num_layers)]
        self.norm = _norm(config, self.dtype_policy)
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rematerialize": self.rematerialize}

    def call(self, x: Any, segments: Any, keep: Any = None, seeds: Any = None, window: int | None = None) -> Any:
        for i, block in enumerate(self.blocks):
            options = {
                "keep": None if keep is None else keep[:, i],
                "seeds": None if seeds is None else seeds[i],
                "window": window,
            }
            x = _recomputed(block, x, segments, options) if self.rematerialize else block(x, segments, **options)
        return self.norm(x)


def _recomputed(block: TransformerBlock, x: Any, segments: Any, options: dict[str, Any]) -> Any:
    return tf.recompute_grad(lambda inner: block(inner, segments, **options))(x)
