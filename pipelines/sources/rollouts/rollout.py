"""Rollout: one episode of a Gymnasium environment, played by a policy, in a process that can be killed."""

import copy
import dataclasses
import importlib.metadata
import sys
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np

from gato_tokenize import EpisodeSpec, spec_from_spaces
from gato_tokenize.environments.families import Ending
from gato_tokenize.environments.playing import legal, mission
from gato_tokenize.environments.recipe import Recipe
from gato_tokenize.spaces import tuple_to_dict
from pipelines.sources.rollouts.experts import Policy, expert_of
from pipelines.sources.source import SourceError

# Packages of environments. Their versions are recorded, as those of gymnasium and numpy are, if making the environment
# has imported them.
_SIMULATORS = ("Box2D", "ale_py", "metaworld", "minigrid", "mujoco")


@dataclasses.dataclass(frozen=True)
class Rollout:
    """All that an episode depends on except its seed. It is hashable, small, and sent to the process that plays."""

    recipe: Recipe
    policy: str = "expert"  # or "random"
    max_steps: int = 0  # 0: the environment's own limit


@dataclasses.dataclass(frozen=True)
class Description:
    """The facts that are known before anything is played."""

    spec: EpisodeSpec
    agent_id: str
    versions: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Played:
    """One episode: trees of values stacked over its T steps, observation t seen before action t."""

    observation: Any
    action: Any
    ending: Ending
    truncated: bool
    instruction: str
    clipped: int  # action values that the policy gave beyond their bounds; played and recorded at the bound


def describe(rollout: Rollout) -> Description:
    """Make the environment once, without playing, and describe it.

    Raises MakeError or SourceError if `play` would fail for every seed: the environment cannot be made (see
    `Recipe.make`), its spaces have no spec, or `policy="expert"` and no expert is known.
    """
    environment = rollout.recipe.make(seed=0)
    try:
        try:
            spec = spec_from_spaces(environment.observation_space, environment.action_space)
        except ValueError as error:
            raise SourceError(f"{rollout.recipe.name}: {error}") from error
        agent_id, _ = player(rollout, environment)
    finally:
        environment.close()
    return Description(spec, agent_id, _versions(rollout.recipe.environment.rpartition(":")[0]))


def _versions(module: str) -> dict[str, str]:
    """{package: version} of the packages that play, with that of a `module` that registers the environment."""
    packages = {"gymnasium", "numpy", *(name for name in _SIMULATORS if name in sys.modules)}
    if module:
        packages.update(importlib.metadata.packages_distributions().get(module.partition(".")[0], ()))
    return {name: importlib.metadata.version(name) for name in sorted(packages)}


def play(rollout: Rollout, seed: int) -> Played:
    """Play one episode, a function of the rollout and the seed alone. Raises what environment and policy raise."""
    # A new environment each time: reset(seed) alone does not rewind all of them (Meta-World draws its goal when made).
    environment, observation = rollout.recipe.start(seed)
    try:
        _, policy = player(rollout, environment)
        return _played(environment, observation, policy(), rollout.max_steps)
    finally:
        environment.close()


def _played(environment: Any, observation: Any, policy: Policy, max_steps: int) -> Played:
    instruction = mission(observation)
    observations, actions, rewards, solved, terminated, truncated = [], [], [], False, False, False
    clipped = 0
    while not (terminated or truncated):
        chosen = policy(observation)
        action = legal(environment.action_space, chosen)
        clipped += _clipped(environment.action_space, chosen)
        observations.append(tuple_to_dict(copy.deepcopy(observation)))  # copied: some environments write in place
        actions.append(tuple_to_dict(copy.deepcopy(action)))
        observation, reward, terminated, truncated, info = environment.step(action)
        rewards.append(float(reward))
        solved = solved or info.get("success", 0) == 1
        truncated = truncated or (not terminated and len(rewards) == max_steps)
    ending = Ending(float(sum(rewards)), rewards[-1], bool(terminated), bool(solved))
    return Played(_stack(observations), _stack(actions), ending, bool(truncated), instruction, clipped)


def player(rollout: Rollout, environment: Any) -> tuple[str, Callable[[], Policy]]:
    """(agent_id, a function that starts the policy after a reset); SourceError if there is no expert to play."""
    if rollout.policy == "random":
        return "random", lambda: lambda observation: environment.action_space.sample()
    return expert_of(rollout.recipe.name)(environment)


def _clipped(space: Any, chosen: Any) -> int:
    box = isinstance(space, gymnasium.spaces.Box)
    return int(np.count_nonzero((np.asarray(chosen) < space.low) | (np.asarray(chosen) > space.high))) if box else 0


def _stack(steps: list[Any]) -> Any:
    """Stack T trees into one tree of arrays [T, ...]; texts stay a list of T."""
    if isinstance(steps[0], Mapping):
        return {key: _stack([step[key] for step in steps]) for key in steps[0]}
    return steps if isinstance(steps[0], str) else np.stack([np.asarray(step) for step in steps])
