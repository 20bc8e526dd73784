"""The schedule by hand, a step of AdamW against its formula, weight decay that spares what it should."""

import math

import numpy as np
import pytest
import toy_acting  # noqa: F401 - quiets TensorFlow
from hypothesis import given
from hypothesis import strategies as st

from gato_model.config import GatoConfig
from gato_model.network.model import Gato
from gato_model.training.optimizer import OptimizerSettings


def test_the_papers_schedule():
    schedule = OptimizerSettings().schedule()
    found = [float(schedule(step)) for step in (0, 7_500, 15_000, 507_500, 1_000_000, 2_000_000)]
    assert found == pytest.approx([1e-7, 5.005e-5, 1e-4, 5.5e-5, 1e-5, 1e-5], rel=1e-3)


@given(st.integers(0, 1_200_000))
def test_the_schedule_against_plain_arithmetic(step):
    done = min(max((step - 15_000) / 985_000, 0), 1)
    expected = 2e-4 * (0.1 + 0.9 * (1 + math.cos(math.pi * done)) / 2)
    if step < 15_000:
        expected = 1e-7 + (2e-4 - 1e-7) * step / 15_000
    assert OptimizerSettings(2e-4).rate(step) == pytest.approx(expected, rel=1e-4)


def test_a_step_of_adamw():
    """The first step of Adam moves each weight by the rate, against the gradient's sign; weight decay comes on top."""
    model = Gato(GatoConfig(1, 1, 8, 8, 8, vocabulary_size=5, local_positions=2, patch_channels=32))
    optimizer = OptimizerSettings(0.01, warmup_steps=0, decay_steps=10, weight_decay=0.5).make(model)
    before = [variable.numpy() for variable in model.trainable_variables]
    optimizer.apply([np.full(value.shape, 3.0, np.float32) for value in before], model.trainable_variables)
    for variable, value in zip(model.trainable_variables, before, strict=True):
        spared = value.ndim < 2 or variable.path.endswith("_bias")
        decayed = value if spared else value - 0.01 * 0.5 * value
        np.testing.assert_allclose(variable.numpy(), decayed - 0.01, atol=1e-5, err_msg=variable.path)
    assert sum(value.ndim < 2 for value in before) > 5


def test_fine_tuning_is_adam_at_a_constant_rate():
    model = Gato(GatoConfig(1, 1, 8, 8, 8, vocabulary_size=5, local_positions=2, patch_channels=32))
    optimizer = OptimizerSettings.fine_tuning().make(model)
    assert float(optimizer.learning_rate) == pytest.approx(1e-5)
    assert optimizer.weight_decay == 0.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"warmup_steps": 10, "decay_steps": 10}, "must end before the decay"),
        ({"weight_decay": -1.0}, r"must be in \[0, 1\)"),
        ({"clip_norm": 0.0}, "clip_norm must be above 0"),
    ],
)
def test_nonsense_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        OptimizerSettings(**changes)
