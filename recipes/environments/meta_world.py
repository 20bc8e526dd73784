"""The 50 tasks of Meta-World's benchmark MT50, one by one: each observation tells which of them is to be done.

Without that, several tasks begin with the same observation: whether the hand shall only reach the goal, push the puck
there or carry it, nobody can know. Meta-World's own way to tell is a vector of 50 zeros and ones; here it is a number.
"""

from typing import Any

import gymnasium
from metaworld.env_dict import MT50_V3  # the package registers Meta-World/MT1

TASKS = tuple(MT50_V3)  # in the order in which MT50 counts them


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


def make(task: str, **how: Any) -> gymnasium.Env[Any, Any]:
    """Make the environment of a task such as `reach-v3`. how: for Meta-World/MT1, such as `seed` and `render_mode`."""
    one_task: Any = gymnasium.spec("Meta-World/MT1").entry_point  # not `gymnasium.make`, which would rename ours
    return Told(one_task(env_name=task, **how), TASKS.index(task))


for _task in TASKS:
    gymnasium.register(f"MT50/{_task}", make, kwargs={"task": _task})
