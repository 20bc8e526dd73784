"""The 50 tasks of Meta-World's benchmark MT50, one by one: each observation tells which of them is to be done.

Without that, several tasks begin with the same observation: whether the hand shall only reach the goal, push the puck
there or carry it, nobody can know. Meta-World's own way to tell is a vector of 50 zeros and ones; here it is a number.

`MT50/reach-v3` adds it to Meta-World's observation. `MT50Relative/reach-v3` also gives places as seen from the hand:
the bins of continuous values are fine near 0 and coarse far from it, where Meta-World's places are (12 mm at 0.6 m).
"""

from typing import Any

import gymnasium
import numpy as np
from metaworld.env_dict import MT50_V3  # the package registers Meta-World/MT1
from numpy.typing import NDArray

TASKS = tuple(MT50_V3)  # in the order in which MT50 counts them
# Of Meta-World's observation, which holds after these 18 values those of the timestep before, and then the goal.
HAND, GRIPPER, GOAL = slice(0, 3), slice(3, 4), slice(36, 39)
OBJECTS = {"object": (slice(4, 7), slice(7, 11)), "other_object": (slice(11, 14), slice(14, 18))}  # place, quaternion


class Told(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Add the task's number to each observation."""

    def __init__(self, environment: gymnasium.Env[Any, Any], number: int) -> None:
        super().__init__(environment)
        self._number = number
        self.observation_space = gymnasium.spaces.Dict(
            {"observation": environment.observation_space, "task": gymnasium.spaces.Discrete(len(TASKS))}
        )

    def observation(self, observation: Any) -> dict[str, Any]:
        return {"observation": observation, "task": self._number}


class Relative(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Give the places of objects and goal from the hand, without the timestep before. `whole` is Meta-World's own.

    The observation has `hand` (its place in metres, and how far the gripper is open), `object` and `other_object`
    (place from the hand, quaternion; zeros where there is none), `goal` (place from the hand) and `task`.
    """

    def __init__(self, environment: gymnasium.Env[Any, Any], number: int) -> None:
        super().__init__(environment)
        self._number = number
        self.whole: NDArray[np.float64] = np.zeros(39)
        sizes = {"hand": 4, "object": 7, "other_object": 7, "goal": 3}
        spaces: dict[str, gymnasium.Space[Any]] = {
            name: gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float64) for name, size in sizes.items()
        }
        self.observation_space = gymnasium.spaces.Dict({**spaces, "task": gymnasium.spaces.Discrete(len(TASKS))})

    def observation(self, observation: Any) -> dict[str, Any]:
        self.whole = observation
        hand = observation[HAND]
        seen: dict[str, Any] = {
            name: np.concatenate([observation[place] - hand, observation[turn]])
            if observation[place].any()
            else np.zeros(7)
            for name, (place, turn) in OBJECTS.items()
        }
        return {
            "hand": np.concatenate([hand, observation[GRIPPER]]),
            **seen,
            "goal": observation[GOAL] - hand,
            "task": self._number,
        }


def make(task: str, wrapper: type[Told] | type[Relative] = Told, **how: Any) -> gymnasium.Env[Any, Any]:
    """Make the environment of a task such as `reach-v3`. how: for Meta-World/MT1, such as `seed` and `render_mode`."""
    one_task: Any = gymnasium.spec("Meta-World/MT1").entry_point  # not `gymnasium.make`, which would rename ours
    return wrapper(one_task(env_name=task, **how), TASKS.index(task))


for _task in TASKS:
    gymnasium.register(f"MT50/{_task}", make, kwargs={"task": _task})
    gymnasium.register(f"MT50Relative/{_task}", make, kwargs={"task": _task, "wrapper": Relative})
