"""Embeddings: ids by one table, which is also the output head; patches by a small residual network."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gato_model.config import GROUPS, STEM, GatoConfig
from gato_model.network.layer import ConfiguredLayer

PATCH_SCALE = 4.0  # square root of the patch's side (section 2.1): pixels become [-1, 1] / 4


@keras.saving.register_keras_serializable("gato")
class DiscreteEmbedding(keras.layers.Layer):
    """The table of all ids (section 2.2), which is the output head, too.

    call: int32[...] ids in [0, rows) -> [..., width]. TensorFlow checks the range, XLA clamps silently; batches are
    checked when they are read.
    """

    def __init__(self, rows: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rows, self.width = rows, width
        self.table = self.add_weight((rows, width), keras.initializers.RandomNormal(stddev=0.02), name="table")

    def order(self, ids: range, seed: int) -> None:
        """Let the rows of `ids`, the bins of continuous values, begin alike where their bins are near each other.

        Row i is 0.02 sqrt(2) cos(pi f u + p) at the bin's place u in [-1, 1], with a frequency f from 1/4 to 64 and a
        phase p for each column: as large as random rows, and alike over a range that differs from column to column.
        """
        generator = np.random.default_rng(seed)
        frequency = np.exp(generator.uniform(np.log(0.25), np.log(64), self.width))
        phase = generator.uniform(0, 2 * np.pi, self.width)
        place = np.linspace(-1, 1, len(ids))[:, None]
        rows = 0.02 * np.sqrt(2) * np.cos(np.pi * frequency * place + phase)
        table = self.table.numpy()
        table[ids.start : ids.stop] = rows
        self.table.assign(table)

    def call(self, ids: Any) -> Any:
        table = tf.convert_to_tensor(self.table.value)  # gathering from a variable would make every later read copy it
        return tf.cast(tf.gather(table, ids), self.compute_dtype)

    def logits(self, hidden: Any) -> Any:
        """Compute the logits of all ids: [n, width] -> float32[n, rows]."""
        return tf.cast(tf.matmul(hidden, tf.cast(self.table.value, hidden.dtype), transpose_b=True), tf.float32)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rows": self.rows, "width": self.width}


class _ResidualBlock(keras.layers.Layer):
    """A v2 residual block: twice norm, GELU, convolution, beside a shortcut (appendix C.2); stride 2 halves the map."""

    def __init__(self, channels: int, stride: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.norms = [_norm(self.dtype_policy) for _ in range(2)]
        self.convolutions = [_convolution(channels, 3, side, self.dtype_policy) for side in (1, stride)]
        self.shortcut = _convolution(channels, 1, stride, self.dtype_policy) if stride > 1 else None
        self.channels = channels

    def build(self, shape: Any) -> None:
        inner = (*shape[:-1], self.channels)
        for layer in (*self.norms, *self.convolutions):
            layer.build(inner)
        if self.shortcut is not None:
            self.shortcut.build(inner)
        self.built = True

    def call(self, x: Any) -> Any:
        residual = x
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            x = norm(x)
            x = keras.activations.gelu(x, approximate=False)
            x = convolution(x)
        return x + (residual if self.shortcut is None else self.shortcut(residual))


def _norm(dtype: Any) -> Any:
    return keras.layers.GroupNormalization(GROUPS, dtype=dtype)


def _convolution(channels: int, side: int, stride: int, dtype: Any) -> Any:
    # The format is named, or ~/.keras/keras.json would choose it.
    return keras.layers.Conv2D(channels, side, stride, padding="same", data_format="channels_last", dtype=dtype)


@keras.saving.register_keras_serializable("gato")
class ResidualEmbedding(ConfiguredLayer):
    """The network that turns a patch into one vector (section 2.2, appendix C.2).

    It is a strided convolution, because three channels cannot be normalised in 32 groups; then v2 residual blocks with
    group normalisation and GELU; then a projection.

    call: uint8[N, 16, 16, 3] -> [N, width]. Each patch is normalised by itself: no patch affects another.
    """

    def __init__(self, config: GatoConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        policy, channels = self.dtype_policy, config.patch_channels
        self.stem = _convolution(channels, STEM, 2, policy)
        self.blocks = [_ResidualBlock(channels, 2 if i == 0 else 1, dtype=policy) for i in range(config.patch_blocks)]
        self.norm = _norm(policy)
        self.projection = keras.layers.Dense(config.width, dtype=policy)
        self.build()

    def build(self, shape: Any = None) -> None:
        channels = self.config.patch_channels
        self.stem.build((None, 16, 16, 3))
        for i, block in enumerate(self.blocks):
            block.build((None, 8, 8, channels) if i == 0 else (None, 4, 4, channels))
        self.norm.build((None, 4, 4, channels))
        self.projection.build((None, 16 * channels))
        self.built = True

    def call(self, pixels: Any) -> Any:
        x = (tf.cast(pixels, tf.float32) / 127.5 - 1.0) / PATCH_SCALE
        x = self.stem(tf.cast(x, self.compute_dtype))  # N, 8, 8, channels
        for block in self.blocks:
            x = block(x)  # N, 4, 4, channels
        x = keras.activations.gelu(self.norm(x), approximate=False)
        return self.projection(tf.reshape(x, (-1, 16 * self.config.patch_channels)))
