"""Environments that go wrong on purpose: `rollouts:faulty_environments:Faulty/Count-v0?policy=random&fault=loop`."""

import ctypes
import os
import random
import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Text, Tuple


class OwnError(Exception):
    """An exception that cannot be unpickled: it is made from two arguments and keeps one."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


def _hang() -> None:
    while True:
        time.sleep(0.01)


def _fail() -> None:
    raise KeyError("a lost key")


def _fail_unpicklable() -> None:
    raise OwnError("half ", "and half")


FAULTS = {
    "none": lambda: None,
    "loop": _hang,
    "native": lambda: ctypes.PyDLL(None).sleep(1000),  # PyDLL keeps the GIL: no Python code runs in the process
    "nan": lambda: float("nan"),  # as the reward
    "raise": _fail,
    "unpicklable": _fail_unpicklable,
    "system-exit": lambda: (_ for _ in ()).throw(SystemExit(0)),
    "exit0": lambda: os._exit(0),
    "exit3": lambda: os._exit(3),
    "segfault": lambda: ctypes.string_at(0),
    "print": lambda: (print("Sampling rejected"), os.system("echo noise of another process")),
}


class Count(gymnasium.Env):
    """Counts to 3 in an array that it changes in place; the fault happens at the second step of seed `bad`."""

    def __init__(self, fault: str = "none", bad: int = 1) -> None:
        self.fault, self.bad = FAULTS[fault], bad
        self.observation_space = Box(-10, 10, (2,), np.float32)
        self.action_space = Box(-2, 2, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.faulty = seed == self.bad
        self.state = np.array([0, self.np_random.uniform()], np.float32)
        return self.state, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.state[0] += 1
        fault = self.fault() if self.faulty and self.state[0] == 2 else None
        return self.state, fault if isinstance(fault, float) else 1.5, bool(self.state[0] == 3), False, {}


class Global(gymnasium.Env):
    """Draws from every generator but its own, and remembers earlier episodes if it is used twice."""

    observation_space = Tuple([Box(-10, 10, (3,), np.float64), Dict({"text": Text(9)}), Discrete(5, start=-2)])
    action_space = Tuple([Discrete(3), MultiDiscrete([2, 4])])
    episodes = 0

    def _observation(self) -> Any:
        drawn = np.array([random.random(), np.random.uniform(), self.episodes])
        return drawn, {"text": "a" * random.randint(1, 9)}, random.randint(-2, 2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.episodes += 1
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self._observation(), 0.0, False, random.random() < 0.2, {}


class Stacked(gymnasium.Env):
    """Shows four stacked grey frames, each newer one brighter, as Atari's wrappers do, and names as dm_control's."""

    observation_space = Dict({"eye": Box(0, 255, (32, 32, 4), np.uint8), "w/pos": Box(-9, 9, (1,), np.float64)})
    action_space = Dict({"a/b": Discrete(3)})

    def __init__(self, masked: bool = False) -> None:
        self.masked = masked

    def _observation(self) -> Any:
        self.time += 1
        frames = np.stack([np.full((32, 32), 10 * self.time + i, np.uint8) for i in range(4)], axis=-1)
        position = np.ma.array([1.0 * self.time], mask=[self.masked and self.time == 2])
        return {"eye": frames, "w/pos": position if self.masked else position.data}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.time = 0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        return self._observation(), float(action["a/b"]), self.time == 3, False, {}


class Broken(gymnasium.Env):
    """An environment that cannot be made."""

    def __init__(self, code: int = 4) -> None:
        os._exit(code)


gymnasium.register("Faulty/Count-v0", entry_point=Count)
gymnasium.register("Faulty/Global-v0", entry_point=Global)
gymnasium.register("Faulty/Stacked-v0", entry_point=Stacked)
gymnasium.register("Faulty/Broken-v0", entry_point=Broken)
