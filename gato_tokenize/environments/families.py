"""Families of environments: which package registers them, and how they report success."""

import dataclasses
from collections.abc import Callable
from typing import Any

SEEN_BY_OPENGL = {"miniworld"}  # words in the names of modules
DRAWN_BY_OPENGL = {"mujoco", "metaworld", "gymnasium_robotics", "dm_control"}  # when their pictures are asked for


@dataclasses.dataclass(frozen=True)
class Ending:
    """What was seen of an episode when it ended."""

    return_: float
    last_reward: float
    terminated: bool
    info_success: bool  # info["success"] was 1 after some step


@dataclasses.dataclass(frozen=True)
class Family:
    """Environments that share a package, and how it tells success."""

    domain: str
    module: str = "gymnasium"  # its import registers the environments
    success: Callable[[Ending], bool] | None = None  # None: unknown
    # Keyword arguments of `make` beside `seed`, for environments that draw when made and ignore `reset(seed=...)`.
    seeded_make: dict[str, Any] | None = None


# {beginning of an environment's id: its family}; the first that fits counts.
FAMILIES: dict[str, Family] = {
    "BabyAI-": Family("BabyAI", "minigrid", lambda end: end.terminated and end.last_reward > 0),
    "MiniGrid-": Family("MiniGrid", "minigrid"),
    # One goal instead of the 50 that `make` otherwise draws and `reset` picks from: 0.2 s an episode, not 0.7 s.
    "Meta-World/MT1": Family("Meta-World", "metaworld", lambda end: end.info_success, seeded_make={"num_goals": 1}),
    "Meta-World/": Family("Meta-World", "metaworld", lambda end: end.info_success, seeded_make={}),
    "LunarLander": Family("Box2D", success=lambda end: end.return_ >= 200),
    "BipedalWalker": Family("Box2D"),
    "CarRacing": Family("Box2D"),
}


def family_of(name: str) -> Family:
    """The family of an environment's id, `module:` in front of it left out; one of its own for any other.

    >>> family_of("BabyAI-GoToLocal-v0").domain, family_of("ALE/Pong-v5").domain, family_of("CartPole-v1").domain
    ('BabyAI', 'ALE', 'Gymnasium')
    """
    for beginning, family in FAMILIES.items():
        if name.startswith(beginning):
            return family
    namespace, slash, _ = name.rpartition("/")
    return Family(namespace if slash else "Gymnasium")
