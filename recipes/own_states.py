"""Ask whether a model does as its expert does: where the expert comes, and where the model itself comes.

    python -m recipes.own_states RUN TASK [TASK ...] [--episodes 5] [--max-steps 300]

A model that imitates well on the expert's way and not on its own has seen too little of what lies beside that way:
`noise=` and `noise_steps=` of the source `rollouts` show it. For each task two numbers are printed: how far the
model's actions are from those that the expert would take at the same observations, in the expert's episodes and in the
model's. The distance is the mean over timesteps and numbers of an action: of real numbers the difference as a fraction
of their range, of discrete ones 1 where they are not the same.
"""

import argparse
import copy
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from gato_model.acting.policy import GatoPolicy
from gato_model.acting.pretrained import load_model
from gato_model.shipped import model_path
from gato_tokenize.environments.playing import PlayedEpisode, legal, playable
from gato_tokenize.spaces import read_spaces
from gato_tokenize.storage.dataset import DatasetTokenizer
from pipelines.sources.rollouts.rollout import Rollout, player
from recipes.make_corpus import QUICKEST_FIRST
from recipes.scores import ACTING, BY_OBSERVATION, FIRST_OF_CHOICES, rollouts


def distance(space: Any, one: Any, other: Any) -> float:
    """How far two actions of a space are apart, from 0 to 1."""
    if isinstance(space, gymnasium.spaces.Box):
        return float(np.mean(np.abs(np.subtract(one, other)) / (space.high - space.low)))
    return float(np.mean(np.asarray(one) != np.asarray(other)))


def distances(policy: GatoPolicy, rollout: Rollout, seed: int, max_steps: int, of_model: bool) -> list[float]:
    """Play an episode by the model or by the expert, and ask the other at each of its observations."""
    environment, observation = rollout.recipe.start(seed)
    try:
        space = environment.action_space
        reading = read_spaces(environment.observation_space, space, rollout.recipe.roles)
        expert = player(rollout, environment)[1]()
        policy.reset(seeds=[seed])
        episode = PlayedEpisode(environment, observation, max_steps, rollout.stop_at_success)
        found = []
        while not episode.over:
            by_expert = legal(space, expert(copy.deepcopy(episode.observation)))  # some experts write in it
            by_model = playable(space, policy.act(reading.observation(episode.observation)))
            found.append(distance(space, by_model, by_expert))
            episode.step(by_model if of_model else by_expert)
        return found
    finally:
        environment.close()


def measure(policy: GatoPolicy, rollout: Rollout, seeds: Sequence[int], max_steps: int) -> tuple[float, float]:
    """Return the mean distance in the expert's episodes and in the model's."""
    on_experts, on_own = (
        float(np.mean([one for seed in seeds for one in distances(policy, rollout, seed, max_steps, of_model)]))
        for of_model in (False, True)
    )
    return on_experts, on_own


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m recipes.own_states", description=__doc__)
    parser.add_argument("run", type=Path, help="a training run's folder, an export, or `demo`")
    parser.add_argument("tasks", nargs="+", metavar="TASK", help="as `recipes.scores` names them")
    parser.add_argument("--episodes", type=int, default=5, metavar="N", help="(default 5)")
    parser.add_argument("--max-steps", type=int, default=300, metavar="N", help="of each (default 300)")
    parser.add_argument("--which", choices=("best", "last"), default="best")
    arguments = parser.parse_intermixed_args()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of every task that is compiled after the first
    tokenizer, model = DatasetTokenizer.load(model_path(arguments.run)), load_model(arguments.run, arguments.which)
    known = {rollout.recipe.task: (recipe, rollout) for recipe, rollout in rollouts(list(QUICKEST_FIRST))}
    unknown = set(arguments.tasks) - known.keys()
    if unknown:
        parser.error(f"no recipe plays {', '.join(sorted(unknown))}")
    seeds = range(FIRST_OF_CHOICES, FIRST_OF_CHOICES + arguments.episodes)
    for task in arguments.tasks:
        recipe, rollout = known[task]
        acting: dict[str, Any] = {"temperature": 1.0, **ACTING.get(recipe, BY_OBSERVATION)}
        policy = GatoPolicy(model, tokenizer.task(task), **acting)
        on_experts, on_own = measure(policy, rollout, seeds, arguments.max_steps)
        print(f"{task}: {on_experts:.3f} in the expert's episodes, {on_own:.3f} in its own", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
