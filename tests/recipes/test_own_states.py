"""The distance between a model and its expert, where the expert comes and where the model comes."""

from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest

pytest.importorskip("tensorflow")
from gato_tokenize.environments.recipe import Recipe
from pipelines.sources.rollouts.rollout import Rollout
from recipes.experts.classic import cart_pole
from recipes.own_states import distance, measure

CART_POLE = Rollout(Recipe("CartPole-v1"), "recipes.experts.classic:cart_pole")


def test_distances() -> None:
    box = gymnasium.spaces.Box(np.float32([-1, 0]), np.float32([1, 4]))
    assert distance(box, [0.5, 4.0], [0.5, 0.0]) == 0.5
    assert distance(gymnasium.spaces.Discrete(3), 2, 2) == 0.0
    assert distance(gymnasium.spaces.MultiDiscrete([3, 3]), [2, 1], [2, 0]) == 0.5


def test_a_model_that_knows_the_experts_way_alone() -> None:
    """It does what the expert does while the pole stands upright, and pushes to the wrong side as soon as it leans: the
    expert soon leaves it nothing to do wrong, the model itself never comes back."""
    expert: Any = cart_pole(None)

    def act(observation: Any) -> int:
        return int(expert(observation)) ^ (abs(observation[2]) > 0.02)

    model: Any = SimpleNamespace(act=act, reset=lambda seeds: None)
    on_experts, on_own = measure(model, CART_POLE, range(3), 100)
    assert on_experts < 0.3 and on_own > 0.7
