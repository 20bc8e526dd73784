"""Sums of losses by dataset and modality: sums and counts add up over rows, workers and steps; means do not."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from gato_model.network.losses import Losses
from gato_tokenize import Kind


def loss_sums(losses: Losses, inputs: Mapping[str, Any], datasets: int) -> Any:
    """Sum a batch's losses: float32[datasets, kinds, 3], the last axis being cross-entropy (nats), correct, count.

    A predicted token counts for its row's dataset and for the kind of the token itself.
    """
    places, length = tf.size(inputs["targets"]), tf.shape(inputs["targets"])[1]
    place = tf.minimum(inputs["target_index"], places - 2)  # padding has weight 0 wherever it falls
    kind = tf.cast(tf.gather(tf.reshape(inputs["kinds"], (-1,)), place + 1), tf.int32)
    cell = tf.gather(inputs["dataset"], place // length) * len(Kind) + kind
    values = tf.stack([losses.cross_entropy, losses.correct, tf.ones_like(losses.weight)], 1) * losses.weight[:, None]
    return tf.reshape(tf.math.unsorted_segment_sum(values, cell, datasets * len(Kind)), (datasets, len(Kind), 3))


@dataclasses.dataclass(frozen=True)
class LossTable:
    """Loss (nats per token) and accuracy in total and by (group, modality), from the sums of `loss_sums`.

    groups: the heading under which each dataset is reported: its domain or its name. Cells without a predicted token
    are left out.
    """

    sums: NDArray[np.float64]  # [datasets, kinds, 3]
    groups: tuple[str, ...]

    @property
    def tokens(self) -> int:
        """Count the predicted tokens."""
        return int(self.sums[..., 2].sum())

    @property
    def loss(self) -> float:
        """Return the mean loss, NaN if nothing was predicted."""
        total = self.sums.sum((0, 1))
        return float(total[0] / total[2]) if total[2] else float("nan")

    @property
    def accuracy(self) -> float:
        """Return the fraction of predicted tokens whose likeliest id is right, NaN if nothing was predicted."""
        total = self.sums.sum((0, 1))
        return float(total[1] / total[2]) if total[2] else float("nan")

    def rows(self) -> dict[str, dict[str, float]]:
        """Return {"BabyAI/discrete_action": {"loss": ..., "accuracy": ..., "tokens": ...}, ...}."""
        cells: dict[str, NDArray[np.float64]] = {}
        for group, of_dataset in zip(self.groups, self.sums, strict=True):
            for kind in Kind:
                if of_dataset[kind, 2]:
                    name = f"{group}/{kind.name.lower()}"
                    cells[name] = cells.get(name, np.zeros(3)) + of_dataset[kind]
        return {
            name: {"loss": float(loss / count), "accuracy": float(right / count), "tokens": float(count)}
            for name, (loss, right, count) in sorted(cells.items())
        }

    def shares_of_tokens(self) -> dict[str, float]:
        """Return {group: its fraction of the predicted tokens}, 0 if nothing was predicted."""
        fractions = dict.fromkeys(self.groups, 0.0)
        for group, count in zip(self.groups, self.sums[..., 2].sum(1), strict=True):
            fractions[group] += float(count) / max(self.tokens, 1)
        return fractions

    def not_finite(self) -> list[str]:
        """Name the groups whose loss is NaN or infinite."""
        return sorted(
            {group for group, sums in zip(self.groups, self.sums, strict=True) if not np.isfinite(sums).all()}
        )
