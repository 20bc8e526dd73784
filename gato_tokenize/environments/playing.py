"""An episode while it is played, actions in the form that an environment takes, and the instruction it gives."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from gato_tokenize.environments.families import Ending


@dataclasses.dataclass
class PlayedEpisode:
    """An episode from the first observation on: `step` plays an action, until it is `over`.

    max_steps: the episode is cut (truncated) after this many steps; 0: only the environment ends it.
    stop_at_success: the episode ends (terminates) after the first step whose info["success"] is 1. Meta-World goes on
        for hundreds of steps after it, in which its experts wait. Gymnasium-Robotics calls it info["is_success"].

    >>> environment = gymnasium.make("CartPole-v1")
    >>> episode = PlayedEpisode(environment, environment.reset(seed=0)[0], max_steps=2)
    >>> while not episode.over:
    ...     episode.step(0)
    >>> episode.rewards, episode.terminated, episode.truncated, episode.ending.return_
    ([1.0, 1.0], False, True, 2.0)
    """

    environment: Any  # already reset; the caller closes it
    observation: Any  # the latest one, which the next action answers
    max_steps: int = 0
    stop_at_success: bool = False
    rewards: list[float] = dataclasses.field(default_factory=list)  # one a step
    terminated: bool = False
    truncated: bool = False
    info_success: bool = False  # info["success"] was 1 after some step

    def step(self, action: Any) -> None:
        """Play an action of the environment's own form: see `legal` and `playable`. The environment's errors pass.

        Raises ValueError for a reward that is not finite: NaN as the return would say that it is unknown.
        """
        self.observation, reward, terminated, truncated, info = self.environment.step(action)
        reward = float(reward)
        if not math.isfinite(reward):
            raise ValueError(f"the reward of step {len(self.rewards)} is {reward}, not a finite number")
        self.rewards.append(reward)
        self.info_success = self.info_success or bool(info.get("success", info.get("is_success", 0)) == 1)
        self.terminated = bool(terminated) or (self.stop_at_success and self.info_success)
        self.truncated = bool(truncated) or (not self.terminated and len(self.rewards) == self.max_steps)

    @property
    def over(self) -> bool:
        return self.terminated or self.truncated

    @property
    def ending(self) -> Ending:
        """The facts by which success is judged, after at least one step."""
        return Ending(float(sum(self.rewards)), self.rewards[-1], self.terminated, self.info_success)


def playable(space: Any, action: Any) -> Any:
    """Bring an action that a policy gave, nested as a spec says, into the form that an action space takes.

    >>> playable(gymnasium.spaces.Tuple([gymnasium.spaces.Discrete(3), gymnasium.spaces.Discrete(2)]), {"0": 2, "1": 0})
    (2, 0)
    """
    if isinstance(space, gymnasium.spaces.Tuple):
        members = action if isinstance(action, tuple) else [action[key] for key in sorted(action)]
        return tuple(playable(member, value) for member, value in zip(space.spaces, members, strict=True))
    if isinstance(space, gymnasium.spaces.Dict):
        return {key: playable(member, _member(action, key)) for key, member in space.spaces.items()}
    if isinstance(space, gymnasium.spaces.Box) and space.dtype.kind in "iu" and np.asarray(action).dtype.kind == "f":
        action = np.rint(action)  # a role may have made real numbers of whole ones, which a cast would cut
    return legal(space, action)


def _member(action: Mapping[Any, Any], key: Any) -> Any:
    """Return a member of an action; a key that is no string is a string in a spec."""
    return action[key] if key in action else action[str(key)]


def legal(space: Any, action: Any) -> Any:
    """Return the action as it is recorded and played: within a Box's bounds and of its dtype; an int for a Discrete."""
    if isinstance(space, gymnasium.spaces.Box):
        return np.clip(action, space.low, space.high).astype(space.dtype)
    return int(action) if isinstance(space, gymnasium.spaces.Discrete) else action


def mission(observation: Any) -> str:
    """Return the instruction that an observation gives the agent, "" if it gives none."""
    return str(observation.get("mission", "")) if isinstance(observation, Mapping) else ""
