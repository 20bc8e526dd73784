"""Rollout: one episode of a Gymnasium environment, played by a policy. Meant for a process that can be killed."""

import copy
import dataclasses
import difflib
import importlib
import importlib.metadata
import json
import random
import sys
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np

from gato_tokenize import EpisodeSpec, spec_from_spaces
from gato_tokenize.spaces import tuple_to_dict
from pipelines.experts import FAMILIES, Ending, Policy, family_of
from pipelines.source import SourceError

# An environment's package beside gymnasium and numpy: its version counts where making the environment imports it.
_SIMULATORS = ("Box2D", "ale_py", "metaworld", "minigrid", "mujoco")


@dataclasses.dataclass(frozen=True)
class Rollout:
    """All that an episode depends on beside its seed. Hashable and small: it travels to the process that plays."""

    environment: str  # as for `gymnasium.make`: "BabyAI-GoToLocal-v0", or "module:Id-v0"
    kwargs: str = "{}"  # more keyword arguments of `gymnasium.make`, as JSON
    policy: str = "expert"  # or "random"
    image: str = ""  # MiniGrid: "rgb" or "symbolic"; "" where the environment knows no such choice
    max_steps: int = 0  # 0: the environment's own limit

    @property
    def name(self) -> str:
        """The environment's id without `module:`."""
        return self.environment.rpartition(":")[2]


@dataclasses.dataclass(frozen=True)
class Description:
    """What is known before anything is played."""

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
    """The spec, the player's name and the installed versions; makes the environment once and plays nothing.

    Raises SourceError where `play` could not succeed for any seed: see `make`; and for `policy="expert"` where no
    expert is known.
    """
    environment = make(rollout, seed=0)
    try:
        try:
            spec = spec_from_spaces(environment.observation_space, environment.action_space)
        except ValueError as error:
            raise SourceError(f"{rollout.name}: {error}") from error
        agent_id, _ = player(rollout, environment)
    finally:
        environment.close()
    return Description(spec, agent_id, _versions(rollout.environment.rpartition(":")[0]))


def _versions(module: str) -> dict[str, str]:
    """{package: version} of what plays, a `module` that registers the environment included, if it is packaged."""
    packages = {"gymnasium", "numpy", *(name for name in _SIMULATORS if name in sys.modules)}
    if module:
        packages.update(importlib.metadata.packages_distributions().get(module.partition(".")[0], ()))
    return {name: importlib.metadata.version(name) for name in sorted(packages)}


def play(rollout: Rollout, seed: int) -> Played:
    """One episode, a function of the rollout and the seed alone: environment, spaces and the global generators of
    `random` and numpy are made anew from the seed. Whatever environment or policy raise is raised."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    # A new environment each time: reset(seed) alone does not rewind all of them (Meta-World draws its goal when made).
    environment = make(rollout, seed)
    try:
        environment.action_space.seed(seed)
        observation, _ = environment.reset(seed=seed)
        _, start = player(rollout, environment)
        return _played(environment, observation, start(), rollout.max_steps)
    finally:
        environment.close()


def _played(environment: Any, observation: Any, policy: Policy, max_steps: int) -> Played:
    mission = observation.get("mission", "") if isinstance(observation, Mapping) else ""
    observations, actions, rewards, solved, terminated, truncated = [], [], [], False, False, False
    clipped = 0
    while not (terminated or truncated):
        chosen = policy(observation)
        action = _legal(environment.action_space, chosen)
        clipped += _clipped(environment.action_space, chosen)
        observations.append(tuple_to_dict(copy.deepcopy(observation)))  # copied: some environments write in place
        actions.append(tuple_to_dict(copy.deepcopy(action)))
        observation, reward, terminated, truncated, info = environment.step(action)
        rewards.append(float(reward))
        solved = solved or info.get("success", 0) == 1
        truncated = truncated or (not terminated and len(rewards) == max_steps)
    ending = Ending(float(sum(rewards)), rewards[-1], bool(terminated), bool(solved))
    return Played(_stack(observations), _stack(actions), ending, bool(truncated), str(mission), clipped)


def player(rollout: Rollout, environment: Any) -> tuple[str, Callable[[], Policy]]:
    """(agent_id, what starts the policy after a reset). SourceError for `policy="expert"` where there is none."""
    if rollout.policy == "random":
        return "random", lambda: lambda observation: environment.action_space.sample()
    expert = family_of(rollout.name).expert
    if expert is None:
        known = ", ".join(f"{beginning}*" for beginning, family in FAMILIES.items() if family.expert)
        raise SourceError(f"no expert plays {rollout.name}; experts play {known}: policy=random plays it at random")
    return expert(environment)


def make(rollout: Rollout, seed: int) -> Any:
    """The environment, wrapped for `image`.

    Raises SourceError for an unknown id (with close ones), a package that is not installed, keyword arguments that
    the environment does not take, an id without version.
    """
    name, family = rollout.name, family_of(rollout.name)
    kwargs = json.loads(rollout.kwargs)
    if family.seeded_make is not None:
        kwargs = {**family.seeded_make, "seed": seed, **kwargs}
    try:
        importlib.import_module(family.module)
        environment = gymnasium.make(rollout.environment, disable_env_checker=True, **kwargs)
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        cure = "" if ":" in rollout.environment else ": pip install 'gato-toolchain[rollouts]' installs what is known"
        raise SourceError(f"{name} needs a package that cannot be imported ({error}){cure}") from error
    except (gymnasium.error.UnregisteredEnv, gymnasium.error.DeprecatedEnv) as error:
        close = difflib.get_close_matches(name, list(gymnasium.registry), n=3)
        raise SourceError(f"unknown environment {name!r}: {error} Close: {', '.join(close) or 'none'}") from error
    except Exception as error:
        raise SourceError(
            f"{name} cannot be made with the options {rollout.kwargs}: {type(error).__name__}: {error}"
        ) from error
    if environment.spec.id != name:
        raise SourceError(f"{name} is {environment.spec.id} today and may be another tomorrow: write the version")
    if rollout.image == "rgb":
        from minigrid.wrappers import RGBImgPartialObsWrapper

        environment = RGBImgPartialObsWrapper(environment, tile_size=8)  # uint8[56, 56, 3]
    return environment


def _legal(space: Any, action: Any) -> Any:
    """The action as it is recorded and played: within a Box's bounds and of its dtype; an int for a Discrete."""
    if isinstance(space, gymnasium.spaces.Box):
        return np.clip(action, space.low, space.high).astype(space.dtype)
    return int(action) if isinstance(space, gymnasium.spaces.Discrete) else action


def _clipped(space: Any, chosen: Any) -> int:
    box = isinstance(space, gymnasium.spaces.Box)
    return int(np.count_nonzero((np.asarray(chosen) < space.low) | (np.asarray(chosen) > space.high))) if box else 0


def _stack(steps: list[Any]) -> Any:
    """T trees as one tree of arrays [T, ...]; texts stay a list of T."""
    if isinstance(steps[0], Mapping):
        return {key: _stack([step[key] for step in steps]) for key in steps[0]}
    return steps if isinstance(steps[0], str) else np.stack([np.asarray(step) for step in steps])
