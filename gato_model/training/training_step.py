"""TrainingStep: one step in one process or many. Gradients of sums are reduced, then divided by the total count."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from gato_model.data.batch_fields import BATCH_FIELDS
from gato_model.network.losses import Smoothing
from gato_model.network.model import Gato, Training
from gato_model.training.loss_table import loss_sums

TENSORS = tuple(field.name for field in BATCH_FIELDS if field.name != "target_mask")  # target_index says the same


class TrainingStep:
    """A step moves the weights once, by the mean loss over every predicted token of the global batch.

    Sums and counts are accumulated and reduced, never means, so neither the number of workers nor the number of parts
    changes the result. Keras's `fit` cannot do this under MultiWorkerMirroredStrategy.

    strategy: a tf.distribute one, in whose scope model and optimizer were made
    datasets: the number of shares
    total_rows: rows of the global batch
    seed: of the run; a step's random numbers depend on it and on the step's number
    clip_norm: the longest gradient, None for no clipping
    jit_compile: XLA compiles the gradients and, with one replica, their application
    smoothing: of the objective, None for the plain cross-entropy
    """

    def __init__(self, strategy: Any, model: Gato, optimizer: Any, datasets: int, total_rows: int, seed: int = 0,
                 clip_norm: float | None = None, jit_compile: bool = False,
                 smoothing: Smoothing | None = None) -> None:  # fmt: skip
        self.smoothing = smoothing
        self.strategy, self.model, self.optimizer = strategy, model, optimizer
        self.datasets, self.total_rows, self.seed, self.clip_norm = datasets, total_rows, seed, clip_norm
        compute = tf.function(
            self._gradients, jit_compile=jit_compile, reduce_retracing=not jit_compile, autograph=False
        )
        self._compute = self._everywhere(compute)
        self._add = self._everywhere(lambda one, other: tf.nest.map_structure(tf.add, one, other))
        alone = jit_compile and strategy.num_replicas_in_sync == 1  # XLA on CPU knows no collectives
        self._apply = self._everywhere(tf.function(self._update, jit_compile=alone, autograph=False))
        self._evaluate = self._everywhere(self._held_out)

    def __call__(self, parts: Sequence[Any], number: int) -> tuple[NDArray[np.float64], float]:
        """Take step `number` (from 0) on the parts of a batch, each as `replicated` makes it.

        Returns the loss sums with the weights before the step, float64[datasets, kinds, 3] as in `loss_sums`, over all
        workers, and the norm of the gradient of the mean loss before clipping.
        """
        seed = tf.constant([self.seed, number], tf.int32)
        totals = None
        for part in parts:
            computed = self._compute(part, seed)
            totals = computed if totals is None else self._add(totals, computed)
        sums, norm = self._apply(totals)
        return self._local(sums).astype(np.float64), float(self._local(norm))

    def evaluate(self, part: Any) -> NDArray[np.float64]:
        """Compute the loss sums of one part, as `replicated` makes it, without learning or drawing anything.

        Returns float64[datasets, kinds, 3] over all workers, the last axis being cross-entropy in nats, right
        predictions and number of predicted tokens. Every worker must call it, or the others wait. Raises
        tf.errors.OpError if another worker is gone.
        """
        return self._local(self._evaluate(part)).astype(np.float64)

    def replicated(self, batches: Sequence[Mapping[str, Any]], first_rows: Sequence[int]) -> Any:
        """Bring one batch for each replica of this process into the form that the strategy takes.

        batches: dicts of arrays as in `BATCH_FIELDS`. first_rows: the row of the global batch that each begins at.
        """
        tensors = [
            {**{name: tf.constant(batch[name]) for name in TENSORS}, "first_row": tf.constant(first)}
            for batch, first in zip(batches, first_rows, strict=True)
        ]
        if len(tensors) == 1:
            return tensors[0]
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: tensors[context.replica_id_in_sync_group % len(tensors)]
        )

    def _everywhere(self, function: Any) -> Any:
        """Run `function` in every replica, from within a graph, because collectives need one."""
        return tf.function(
            lambda *arguments: self.strategy.run(function, arguments), reduce_retracing=True, autograph=False
        )

    def _local(self, value: Any) -> Any:
        return self.strategy.experimental_local_results(value)[0].numpy()

    def _gradients(self, batch: Mapping[str, Any], seed: Any) -> tuple[Any, Any]:
        random = Training(seed, batch["first_row"], self.total_rows)
        with tf.GradientTape() as tape:
            losses = self.model.losses(batch, random, self.smoothing)
            total = tf.reduce_sum(losses.objective * losses.weight)
        variables = [variable.value for variable in self.model.trainable_variables]
        gradients = tape.gradient(total, variables)
        dense = [tf.convert_to_tensor(gradient) for gradient in gradients]  # those of a lookup are IndexedSlices
        return dense, loss_sums(losses, batch, self.datasets)

    def _update(self, totals: tuple[list[Any], Any]) -> tuple[Any, Any]:
        replica = tf.distribute.get_replica_context()
        gradients, sums = totals
        sums = replica.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(sums))  # a plain argument is on no device
        count = tf.maximum(tf.reduce_sum(sums[..., 2]), 1.0)
        gradients = [gradient / count for gradient in gradients]
        norm = tf.linalg.global_norm(replica.all_reduce(tf.distribute.ReduceOp.SUM, gradients))
        if self.clip_norm is not None:
            gradients = [gradient * tf.minimum(1.0, self.clip_norm / norm) for gradient in gradients]
        self.optimizer.apply(gradients, self.model.trainable_variables)  # it sums the replicas' gradients itself
        return sums, norm

    def _held_out(self, batch: Mapping[str, Any]) -> Any:
        sums = loss_sums(self.model.losses(batch), batch, self.datasets)
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, sums)
