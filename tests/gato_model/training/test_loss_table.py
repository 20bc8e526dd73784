"""Sums by dataset and modality, and the table made of them."""

import math

import numpy as np
import toy_acting  # noqa: F401 - quiets TensorFlow

from gato_model.network.losses import Losses
from gato_model.training.loss_table import LossTable, loss_sums
from gato_tokenize import Kind


def test_each_predicted_token_falls_into_the_cell_of_its_dataset_and_kind():
    """Two rows of four tokens; the kind is that of the token that is predicted, one place on."""
    text, action = int(Kind.TEXT), int(Kind.DISCRETE_ACTION)
    inputs = {
        "targets": np.zeros((2, 4), np.int32),
        "kinds": np.array([[4, text, action, text], [4, 4, action, action]], np.uint8),
        "target_index": np.array([0, 1, 5, 6, 8, 8], np.int32),  # two are padding
        "dataset": np.array([1, 0], np.int32),
    }
    losses = Losses(
        np.array([1.0, 2.0, 4.0, 8.0, 99.0, 99.0], np.float32),
        np.array([1, 0, 1, 0, 1, 1], np.float32),
        np.array([1, 1, 1, 1, 0, 0], np.float32),
        objective=np.full(6, 1000.0, np.float32),  # what is made small is not what is reported
    )
    sums = loss_sums(losses, inputs, 2).numpy()
    assert sums[1, text].tolist() == [1.0, 1.0, 1.0]
    assert sums[1, action].tolist() == [2.0, 0.0, 1.0]
    assert sums[0, action].tolist() == [12.0, 1.0, 2.0]
    assert sums.sum() == 21.0


def test_the_table_weighs_tokens_alike_and_joins_datasets_of_one_domain():
    sums = np.zeros((3, len(Kind), 3))
    sums[0, Kind.TEXT] = [6, 1, 2]
    sums[1, Kind.TEXT] = [2, 2, 2]
    sums[2, Kind.DISCRETE_ACTION] = [1, 0, 1]
    table = LossTable(sums, ("web", "web", "BabyAI"))
    assert (table.loss, table.accuracy) == (9 / 5, 3 / 5)
    assert table.rows() == {
        "BabyAI/discrete_action": {"loss": 1.0, "accuracy": 0.0, "tokens": 1.0},
        "web/text": {"loss": 2.0, "accuracy": 0.75, "tokens": 4.0},
    }
    assert table.not_finite() == []


def test_what_is_not_finite_is_named_and_nothing_is_no_zero():
    sums = np.zeros((2, len(Kind), 3))
    assert math.isnan(LossTable(sums, ("a", "b")).loss)
    sums[1, 0, 0] = np.inf
    assert LossTable(sums, ("a", "b")).not_finite() == ["b"]
