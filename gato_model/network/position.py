"""Position encodings: a patch in its picture, a token in its timestep (section 2.2, appendix C.3)."""

from typing import Any

import keras
import tensorflow as tf

from gato_tokenize.sequence import ACTION_POSITION, NO_POSITION

_SMALL = keras.initializers.RandomNormal


@keras.saving.register_keras_serializable("gato")
class PatchPositionEncoding(keras.layers.Layer):
    """The place of a patch: rows and columns, each an interval of a picture's side in `quantization` positions.

    call: int32[N, 4] row low, row high, column low, column high (high exclusive) -> [N, width], the sum of a row's and
    a column's vector. In training, `draws` float32[N, 2] in [0, 1) choose a position in each interval; without draws it
    is round((low + high) / 2), half to even, as in evaluation.
    """

    def __init__(self, quantization: int, width: int, **kwargs: Any) -> None:
        super().__init__(**{"autocast": False, **kwargs})  # draws in half precision would reach `high`
        self.quantization, self.width = quantization, width
        self.rows = self.add_weight((quantization, width), _SMALL(stddev=0.02), name="rows")
        self.columns = self.add_weight((quantization, width), _SMALL(stddev=0.02), name="columns")

    def call(self, intervals: Any, draws: Any = None) -> Any:
        positions = self.positions(intervals, draws)
        vectors = tf.gather(self.rows.value, positions[:, 0]) + tf.gather(self.columns.value, positions[:, 1])
        return tf.cast(vectors, self.compute_dtype)

    def positions(self, intervals: Any, draws: Any = None) -> Any:
        """Choose a row and a column in each interval: int32[N, 2]."""
        low, high = intervals[:, 0::2], intervals[:, 1::2]
        if draws is None:
            middle = tf.cast(tf.round(tf.cast(low + high, tf.float32) / 2), tf.int32)
            return tf.minimum(middle, self.quantization - 1)
        return low + tf.cast(tf.floor(draws * tf.cast(high - low, tf.float32)), tf.int32)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "quantization": self.quantization, "width": self.width}


@keras.saving.register_keras_serializable("gato")
class LocalPositionEncoding(keras.layers.Layer):
    """The place of a token in its timestep: its index among the observation tokens, or one row for all action tokens.

    The separator and tokens outside timesteps get a vector of zeros.

    call: int32[...] as `TokenSequence.local_positions` -> [..., width].
    """

    def __init__(self, positions: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.positions, self.width = positions, width
        self.table = self.add_weight((positions + 1, width), _SMALL(stddev=0.02), name="table")  # the last: actions

    def call(self, positions: Any) -> Any:
        row = tf.where(positions == ACTION_POSITION, self.positions, tf.maximum(positions, 0))
        here = tf.cast(positions != NO_POSITION, self.compute_dtype)[..., None]
        return tf.cast(tf.gather(self.table.value, row), self.compute_dtype) * here

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "positions": self.positions, "width": self.width}
