"""LayerContract: tests that every layer passes. Inherit it, and define `make`, `inputs` and `shape`."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest
import tensorflow as tf

from gato_model.config import GatoConfig

TOY = GatoConfig(
    num_layers=2,
    num_heads=2,
    width=32,
    key_value_size=8,  # heads x key size is not the width
    feed_forward_size=48,
    sequence_length=64,
    vocabulary_size=50,
    local_positions=8,
    quantization=16,
    patch_channels=32,
)


def spread(layer, seed=0):
    """Put random numbers in all of a layer's variables: the zeros and ones that they start with hide mistakes."""
    generator = np.random.default_rng(seed)
    for variable in layer.trainable_variables:
        variable.assign(generator.normal(0, variable.shape[0] ** -0.5, variable.shape))
    return layer


def noise(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


class LayerContract:
    def make(self, **options):
        """Make the layer, of toy size; options go to its initialiser."""
        raise NotImplementedError

    def inputs(self):
        """Return the positional arguments of its call, arrays of two rows or more."""
        raise NotImplementedError

    shape: tuple[int, ...]  # of the result

    def first_row(self, inputs):
        return [array[:1] for array in inputs]

    @pytest.fixture
    def layer(self):
        return spread(self.make())

    def test_what_comes_out(self, layer):
        result = layer(*self.inputs())
        assert tuple(result.shape) == self.shape
        assert result.dtype == tf.float32
        assert np.isfinite(result).all()

    def test_rows_do_not_know_each_other(self, layer):
        whole, alone = layer(*self.inputs()), layer(*self.first_row(self.inputs()))
        np.testing.assert_allclose(alone, whole[:1], atol=1e-5)

    def test_every_variable_learns(self, layer):
        with tf.GradientTape() as tape:
            result = layer(*self.inputs())
            total = tf.reduce_sum(result * noise(*result.shape))
        gradients = tape.gradient(total, [variable.value for variable in layer.trainable_variables])
        for variable, gradient in zip(layer.trainable_variables, gradients, strict=True):
            assert gradient is not None, variable.path
            assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, variable.path

    @pytest.mark.parametrize("jit", [False, True])
    def test_compiled_with_any_number_of_rows(self, layer, jit):
        @tf.function(jit_compile=jit, autograph=False)
        def compiled(*inputs):
            return layer(*inputs)

        loose = [tf.TensorSpec([None, *array.shape[1:]], array.dtype) for array in self.inputs()]
        for inputs in (self.inputs(), self.first_row(self.inputs())):
            result = compiled.get_concrete_function(*loose)(*map(tf.constant, inputs))
            np.testing.assert_allclose(result, layer(*inputs), atol=1e-4)

    def test_mixed_precision(self, layer):
        mixed = self.make(dtype="mixed_bfloat16")
        mixed.set_weights(layer.get_weights())
        assert {variable.dtype for variable in mixed.trainable_variables} == {"float32"}
        result, exact = mixed(*self.inputs()), layer(*self.inputs())
        assert result.dtype == tf.bfloat16
        np.testing.assert_allclose(tf.cast(result, tf.float32), exact, atol=0.05 * np.abs(exact).max())

    def test_made_again_from_its_config(self, layer):
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
        again.set_weights(layer.get_weights())
        np.testing.assert_array_equal(again(*self.inputs()), layer(*self.inputs()))
