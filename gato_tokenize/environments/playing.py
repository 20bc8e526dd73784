"""How an episode is played: legal actions, the instruction, one step after another."""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np


def playable(space: Any, action: Any) -> Any:
    """An action as a policy gives it, nested as a spec says, in the form that an action space takes.

    >>> playable(gymnasium.spaces.Tuple([gymnasium.spaces.Discrete(3), gymnasium.spaces.Discrete(2)]), {"0": 2, "1": 0})
    (2, 0)
    """
    if isinstance(space, gymnasium.spaces.Tuple):
        members = action if isinstance(action, tuple) else [action[key] for key in sorted(action)]
        return tuple(playable(member, value) for member, value in zip(space.spaces, members, strict=True))
    if isinstance(space, gymnasium.spaces.Dict):
        return {key: playable(member, action[key]) for key, member in space.spaces.items()}
    return legal(space, action)


def legal(space: Any, action: Any) -> Any:
    """The action as it is recorded and played: within a Box's bounds and of its dtype; an int for a Discrete."""
    if isinstance(space, gymnasium.spaces.Box):
        return np.clip(action, space.low, space.high).astype(space.dtype)
    return int(action) if isinstance(space, gymnasium.spaces.Discrete) else action


def mission(observation: Any) -> str:
    """What the agent is told to do; "" where it is told nothing."""
    return str(observation.get("mission", "")) if isinstance(observation, Mapping) else ""
