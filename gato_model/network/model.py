"""Gato: a batch of token sequences to the logits of their next tokens (Reed et al. 2022, section 2)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from gato_model.config import GatoConfig
from gato_model.network.embedding import DiscreteEmbedding, ResidualEmbedding
from gato_model.network.losses import Losses, Smoothing, losses_of
from gato_model.network.position import LocalPositionEncoding, PatchPositionEncoding
from gato_model.network.stateless_random import fold_in, integers, uniform
from gato_model.network.transformer import Transformer
from gato_tokenize import Kind


@dataclasses.dataclass(frozen=True)
class Training:
    """The random numbers of one training step: a function of `seed`, however the global batch is divided.

    seed: int32[2], for example (run's seed, step)
    first_row, total_rows: the index of this batch's first row in the global batch, and the rows of that, if several
        workers share it
    """

    seed: Any
    first_row: Any = 0
    total_rows: Any = None  # None: the batch is the whole one

    def uniform(self, purpose: int, rows: int, *shape: int) -> Any:
        """Draw float32[rows, *shape] in [0, 1): this batch's part of the global batch's numbers."""
        total = rows if self.total_rows is None else self.total_rows
        numbers = uniform((total, *shape), fold_in(self.seed, purpose))
        return tf.slice(numbers, (self.first_row, *(0 for _ in shape)), (rows, *shape))

    def seeds(self, purpose: int, *shape: int) -> Any:
        """Draw int32[*shape, 2], seeds of dropout. They do depend on the division: each worker has its own."""
        return integers((*shape, 2), fold_in(fold_in(self.seed, purpose), self.first_row))


_DEPTH, _PATCHES, _DROPOUT = range(3)  # purposes of random numbers


@keras.saving.register_keras_serializable("gato")
class Gato(keras.Model):
    """The model. Its input is a batch as `gato_model.batches` makes it, of any number of rows of any length.

    tokens, local_positions, segments      int32[B, L]
    patches, patch_index, patch_intervals  uint8[N, 16, 16, 3], int32[N] flat places, int32[N, 4]; N at least 1
    target_index, targets                  int32[K] flat places that predict, int32[B, L]; optional

    call -> float32[K, vocabulary], the logits at the places of target_index, or float32[B, L, vocabulary] without it.
    `training` is a `Training`, or False. `fit` needs only `compile(optimizer)` and a dataset of batches.
    """

    def __init__(self, config: GatoConfig, rematerialize: bool = False, seed: int = 0, **kwargs: Any) -> None:
        if keras.config.backend() != "tensorflow":
            raise RuntimeError(
                f"Gato needs Keras's TensorFlow backend, not {keras.config.backend()!r}, which KERAS_BACKEND or"
                " ~/.keras/keras.json chose: set KERAS_BACKEND=tensorflow before keras is imported"
            )
        super().__init__(**kwargs)
        self.config, self.rematerialize, self.seed = config, rematerialize, seed
        policy = self.dtype_policy  # sub-layers do not inherit their parent's
        self.token_embedding = DiscreteEmbedding(config.vocabulary_size, config.width, dtype=policy)
        self.patch_embedding = ResidualEmbedding(config, dtype=policy)
        self.patch_position = PatchPositionEncoding(config.quantization, config.width, dtype=policy)
        self.local_position = LocalPositionEncoding(config.local_positions, config.width, dtype=policy)
        self.transformer = Transformer(config, rematerialize, dtype=policy)
        self.loss_metric = keras.metrics.Mean("loss", dtype="float32")
        self.accuracy_metric = keras.metrics.Mean("accuracy", dtype="float32")
        self.built = True

    def call(self, inputs: Mapping[str, Any], training: Any = False) -> Any:
        hidden = self.hidden(inputs, training=training)
        if "target_index" in inputs:
            return self.token_embedding.logits(self._at_targets(hidden, inputs["target_index"]))
        flat = self.token_embedding.logits(tf.reshape(hidden, (-1, self.config.width)))
        return tf.reshape(flat, (*_shape(hidden)[:2], -1))

    def hidden(self, inputs: Mapping[str, Any], window: int | None = None, training: "Training | bool" = False) -> Any:
        """Compute [B, L, width], which the head reads. A token looks at most `window` - 1 tokens back in each block."""
        random = _random_of(training)
        keep, seeds = self._regularisation(random, inputs["tokens"])
        x = self.embed(inputs, random)
        return self.transformer(x, inputs["segments"], keep=keep, seeds=seeds, window=window)

    def embed(self, inputs: Mapping[str, Any], random: Training | None = None) -> Any:
        """Compute [B, L, width]: each token's vector plus its position's. Only the N patches pass the patch network.

        Inputs without `patches` have none.
        """
        x = self.token_embedding(inputs["tokens"])
        if "patches" in inputs:
            flat = tf.pad(tf.reshape(x, (-1, self.config.width)), ((0, 1), (0, 0)))  # a last row, for padding
            flat = tf.tensor_scatter_nd_update(flat, inputs["patch_index"][:, None], self._patches(inputs, random))
            x = tf.reshape(flat[:-1], (*_shape(inputs["tokens"]), self.config.width))
        return x + self.local_position(inputs["local_positions"])

    def _patches(self, inputs: Mapping[str, Any], random: Training | None) -> Any:
        draws = None
        if random is not None:
            rows, length = _shape(inputs["tokens"])
            places = tf.reshape(random.uniform(_PATCHES, rows, length, 2), (-1, 2))
            draws = tf.gather(tf.pad(places, ((0, 1), (0, 0))), inputs["patch_index"])
        vectors = self.patch_embedding(inputs["patches"])
        return vectors + self.patch_position(inputs["patch_intervals"], draws)

    def _regularisation(self, random: Training | None, tokens: Any) -> tuple[Any, Any]:
        """Draw the factors of stochastic depth, float32[B, blocks, 2], and the seeds of dropout, int32[blocks, 2, 2].

        Either is None if the configuration has none of it, or nothing is drawn.
        """
        config = self.config
        if random is None:
            return None, None
        keep = None
        if config.stochastic_depth:
            draws = random.uniform(_DEPTH, _shape(tokens)[0], config.num_layers, 2)
            keep = tf.cast(draws >= config.stochastic_depth, tf.float32) / (1 - config.stochastic_depth)
        return keep, random.seeds(_DROPOUT, config.num_layers, 2) if config.dropout else None

    def _at_targets(self, hidden: Any, index: Any) -> Any:
        flat = tf.reshape(hidden, (-1, self.config.width))
        return tf.gather(flat, tf.minimum(index, tf.shape(flat)[0] - 1))

    def losses(
        self, inputs: Mapping[str, Any], training: "Training | bool" = False, smoothing: Smoothing | None = None
    ) -> Losses:
        """Compute the losses at the places of target_index (equation 1); logits are computed only there.

        smoothing: of the objective; needs the `kinds` of a batch, by which continuous values are told from others.
        """
        logits = self(inputs, training=training)
        index, targets = inputs["target_index"], tf.reshape(inputs["targets"], (-1,))
        places = tf.size(targets)
        right = tf.gather(targets, tf.minimum(index, places - 1))
        weight = tf.cast(index < places, tf.float32)
        continuous = None
        if smoothing is not None and smoothing.share:
            kind = tf.gather(tf.reshape(inputs["kinds"], (-1,)), tf.minimum(index, places - 2) + 1)
            continuous = (kind == Kind.CONTINUOUS) | (kind == Kind.CONTINUOUS_ACTION)
        return losses_of(logits, right, weight, continuous, smoothing)

    def train_step(self, data: Any) -> dict[str, Any]:
        """Take one step of `fit`, by the mean over predicted tokens."""
        inputs, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        step = tf.cast(self.optimizer.iterations.value, tf.int32)
        with tf.GradientTape() as tape:
            losses = self.losses(inputs, Training(tf.stack([self.seed, step])))
            total = tf.reduce_sum(losses.cross_entropy * losses.weight)
            loss = total / tf.maximum(tf.reduce_sum(losses.weight), 1.0)
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, [variable.value for variable in self.trainable_variables])
        self.optimizer.apply(gradients, self.trainable_variables)
        return self._measure(losses)

    def test_step(self, data: Any) -> dict[str, Any]:
        inputs, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self._measure(self.losses(inputs))

    def _measure(self, losses: Losses) -> dict[str, Any]:
        self.loss_metric.update_state(losses.cross_entropy, losses.weight)
        self.accuracy_metric.update_state(losses.correct, losses.weight)
        return {"loss": self.loss_metric.result(), "accuracy": self.accuracy_metric.result()}

    def get_config(self) -> dict[str, Any]:
        own = {"config": dataclasses.asdict(self.config), "rematerialize": self.rematerialize, "seed": self.seed}
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Gato":
        return cls(**{**config, "config": GatoConfig(**config["config"])})


def _random_of(training: "Training | bool") -> Training | None:
    if training is True:
        raise ValueError("training=True needs a seed: training=Training(seed), an int32[2] that no other step has")
    return training or None


def _shape(tensor: Any) -> tuple[Any, ...]:
    """Return each size as a number if it is known, as a tensor otherwise."""
    return tuple(size if size is not None else tf.shape(tensor)[i] for i, size in enumerate(tensor.shape))
