"""Learners: models that play while their experts say what they would have done (`learner=` of the source `rollouts`).

A model that imitates its expert makes mistakes, and comes where the expert never does; what to do there it learns from
episodes like these (Ross et al. 2011, DAgger).
"""

import functools
import json
import logging
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium

from gato_tokenize.environments.playing import playable
from gato_tokenize.environments.recipe import Recipe
from pipelines.sources.rollouts.experts import Policy

if TYPE_CHECKING:
    from gato_model.acting.policy import GatoPolicy

FOURTH = Path("runs/demo_fourth")  # what recipes/demo_fourth.toml made


def fourth(environment: Any) -> Policy:
    """Play continuous control as the model of the fourth part of training does, from the observation alone."""
    policy = _policy(_task(environment.spec))
    policy.reset(seeds=[random.getrandbits(31)])  # the episode's seed has seeded `random`

    def act(observation: Any) -> Any:
        return playable(environment.action_space, policy.act(observation))

    return act


def _task(spec: Any) -> str:
    """Name the task of a Gymnasium spec, by the arguments that its registration does not have."""
    registered = gymnasium.spec(spec.id).kwargs
    given = {name: value for name, value in spec.kwargs.items() if name not in registered}
    return Recipe(spec.id, json.dumps(given)).task


@functools.lru_cache(maxsize=4)
def _policy(task: str) -> "GatoPolicy":
    # Here, because a conversion also looks at this module where nothing is played, and TensorFlow is slow to load.
    from gato_model.acting.policy import GatoPolicy
    from gato_model.acting.pretrained import load_model
    from gato_tokenize.storage.dataset import DatasetTokenizer
    from recipes.scores import BY_OBSERVATION

    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of every task that is compiled after the first
    acting: dict[str, Any] = {"temperature": 1.0, **BY_OBSERVATION}
    return GatoPolicy(load_model(FOURTH), DatasetTokenizer.load(FOURTH).task(task), **acting)
