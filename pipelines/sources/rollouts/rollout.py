"""Rollout: one episode of a Gymnasium environment, played by a policy, in a process that can be killed."""

import contextlib
import copy
import dataclasses
import importlib.metadata
import sys
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from gato_tokenize.arrays import plain_array
from gato_tokenize.environments.families import Ending
from gato_tokenize.environments.playing import PlayedEpisode, legal, mission
from gato_tokenize.environments.recipe import Recipe
from gato_tokenize.spaces import SpaceReading, read_spaces
from gato_tokenize.steps import tuple_to_dict
from pipelines.sources.errors import SourceError
from pipelines.sources.imported import module_sha256
from pipelines.sources.rollouts.experts import Policy, expert_of, own_policy

# Packages whose versions are recorded, beside gymnasium and numpy, if making the environment has imported them.
_SIMULATORS = ("Box2D", "ale_py", "metaworld", "minigrid", "mujoco")


@dataclasses.dataclass(frozen=True)
class Rollout:
    """Everything except the seed that an episode depends on. Hashable and small: it travels to the playing process."""

    recipe: Recipe
    policy: str = "expert"  # or "random", or "module:function"
    max_steps: int = 0  # 0: the environment's own limit
    stop_at_success: bool = False
    noise: float = 0.0  # probability that a random action is played from a step on, while the policy's are recorded
    noise_steps: int = 1  # that this random action is played for; more than one: drawn from 1 to this
    learner: str = ""  # "module:function": a policy that is played, while `policy`'s actions are recorded


@dataclasses.dataclass(frozen=True)
class Description:
    """The facts about a rollout that are known before anything is played."""

    reading: SpaceReading
    agent_id: str
    versions: dict[str, str]
    max_steps: int | None  # of an episode, as far as the environment says


@dataclasses.dataclass(frozen=True)
class Played:
    """One recorded episode: trees of values stacked over its T steps. Observation t was seen before action t."""

    observation: Any
    action: Any
    rewards: NDArray[np.float64]  # [T]
    ending: Ending
    truncated: bool
    instruction: str
    clipped: int  # action values of the policy outside their bounds; they were recorded at the bound


def describe(rollout: Rollout) -> Description:
    """Find the spec, the player's name and the installed versions. Makes the environment once and plays nothing.

    Raises MakeError or SourceError if `play` would fail for every seed: the environment cannot be made (see
    `Recipe.make`), no spec describes its spaces, or `policy="expert"` and no expert is known.
    """
    environment = rollout.recipe.make(seed=0)
    try:
        try:
            reading = read_spaces(environment.observation_space, environment.action_space, rollout.recipe.roles)
        except ValueError as error:
            raise SourceError(f"{rollout.recipe.name}: {error}") from error
        agent_id, _ = player(rollout, environment)
        if rollout.learner:
            own_policy("learner", rollout.learner)
        limit = _longest(environment)
    finally:
        environment.close()
    versions = _versions(rollout.recipe.environment.rpartition(":")[0])
    for own in (rollout.policy, rollout.learner):
        if ":" in own:
            versions[own] = f"sha256 {module_sha256(own.partition(':')[0])}"
    return Description(reading, agent_id, versions, limit)


def _longest(environment: Any) -> int | None:
    """Return the number of timesteps after which an environment ends an episode, if it says so."""
    limit = environment.spec.max_episode_steps if environment.spec else None
    if limit is None and hasattr(environment.unwrapped, "max_steps"):  # MiniGrid; BabyAI sets it when it is reset
        with contextlib.suppress(Exception):  # an environment that cannot be reset is reported when it is played
            environment.reset(seed=0)
        limit = environment.unwrapped.max_steps
    return int(limit) if isinstance(limit, int | np.integer) and limit > 0 else None


def _versions(module: str) -> dict[str, str]:
    """Return {package: version} of what plays, including the package of the `module` that registers the environment."""
    packages = {"gymnasium", "numpy", *(name for name in _SIMULATORS if name in sys.modules)}
    if module:
        packages.update(importlib.metadata.packages_distributions().get(module.partition(".")[0], ()))
    return {name: importlib.metadata.version(name) for name in sorted(packages)}


def play(rollout: Rollout, seed: int) -> Played:
    """Play one episode, a function of the rollout and the seed alone. Errors of the environment or the policy pass."""
    # A new environment each time, because reset(seed) does not rewind all of them: Meta-World draws its goal when made.
    environment, observation = rollout.recipe.start(seed)
    try:
        _, policy = player(rollout, environment)
        learner = _own("learner", rollout.learner)(environment) if rollout.learner else None
        episode = PlayedEpisode(environment, observation, rollout.max_steps, rollout.stop_at_success)
        return _recorded(episode, policy(), learner, rollout, np.random.default_rng(seed))
    finally:
        environment.close()


def _recorded(
    episode: PlayedEpisode, policy: Policy, learner: Policy | None, rollout: Rollout, generator: np.random.Generator
) -> Played:
    """Play an episode to its end, by the learner if there is one, and stack what was seen and what the policy chose."""
    instruction, space = mission(episode.observation), episode.environment.action_space
    observations, actions, clipped = [], [], 0
    disturbance, disturbed_steps = None, 0
    while not episode.over:
        # Copied before the policy sees it: two of Meta-World's policies write in it, and so do some environments.
        observations.append(tuple_to_dict(copy.deepcopy(episode.observation)))
        for_learner = copy.deepcopy(episode.observation) if learner else None
        chosen = policy(episode.observation)
        action = legal(space, chosen)
        clipped += _clipped(space, chosen)
        actions.append(tuple_to_dict(copy.deepcopy(action)))
        if not disturbed_steps and rollout.noise > 0 and generator.random() < rollout.noise:
            disturbance = space.sample()
            disturbed_steps = 1 if rollout.noise_steps == 1 else int(generator.integers(1, rollout.noise_steps + 1))
        played = action if learner is None else legal(space, learner(for_learner))
        episode.step(disturbance if disturbed_steps else played)
        disturbed_steps = max(0, disturbed_steps - 1)
    rewards = np.array(episode.rewards)
    return Played(
        _stack(observations), _stack(actions), rewards, episode.ending, episode.truncated, instruction, clipped
    )


def player(rollout: Rollout, environment: Any) -> tuple[str, Callable[[], Policy]]:
    """Return (agent_id, a function that starts the policy after a reset).

    Raises SourceError for `policy="expert"` if no expert plays the environment, and for a function that is not there.
    """
    if rollout.policy == "random":
        return "random", lambda: lambda observation: environment.action_space.sample()
    if rollout.policy == "expert":
        return expert_of(rollout.recipe.name)(environment)
    make_policy = _own("policy", rollout.policy)
    return rollout.policy, lambda: make_policy(environment)


def _own(option: str, name: str) -> Callable[[Any], Policy]:
    """Import the user's function that makes a policy. The policy's errors name it: they would look like those of the
    environment."""
    make_policy = own_policy(option, name)

    def start(environment: Any) -> Policy:
        policy = make_policy(environment)

        def act(observation: Any) -> Any:
            try:
                return policy(observation)
            except Exception as error:
                raise RuntimeError(f"{option} {name}: {type(error).__name__}: {error}") from error

        return act

    return start


def _clipped(space: Any, chosen: Any) -> int:
    box = isinstance(space, gymnasium.spaces.Box)
    return int(np.count_nonzero((np.asarray(chosen) < space.low) | (np.asarray(chosen) > space.high))) if box else 0


def _stack(steps: list[Any]) -> Any:
    """Stack T trees into one tree of arrays [T, ...]; texts stay a list of T."""
    if isinstance(steps[0], Mapping):
        return {key: _stack([step[key] for step in steps]) for key in steps[0]}
    return steps if isinstance(steps[0], str) else np.stack([plain_array(step) for step in steps])
