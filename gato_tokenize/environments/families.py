"""Families of environments: which package registers them, how they report success, and which draw by OpenGL."""

import dataclasses
import importlib
import re
from collections.abc import Callable
from typing import Any

import gymnasium

# Simulators that draw by OpenGL, by the names of their modules: whenever they are played, or for frames alone.
_OPENGL_ALWAYS = {"miniworld"}
_OPENGL_FOR_FRAMES = {"mujoco", "metaworld", "gymnasium_robotics", "dm_control", "shimmy"}


@dataclasses.dataclass(frozen=True)
class Ending:
    """The facts about an episode by which its success is judged when it is over."""

    return_: float  # the sum of its rewards
    last_reward: float
    terminated: bool
    info_success: bool  # info["success"] was 1 after some step


@dataclasses.dataclass(frozen=True)
class Family:
    """Environments that share a package and a way to report success."""

    domain: str
    module: str = "gymnasium"  # its import registers the environments
    success: Callable[[Ending], bool] | None = None  # None: they do not report it
    # Keyword arguments of `make` beside `seed`, for environments that draw when made and ignore `reset(seed=...)`.
    seeded_make: dict[str, Any] | None = None
    extra: str = "rollouts"  # of this project's installation, which brings the package; "": not known


# {beginning of an environment's id: its family}; the first that fits counts.
FAMILIES: dict[str, Family] = {
    "BabyAI-": Family("BabyAI", "minigrid", lambda end: end.terminated and end.last_reward > 0),
    "MiniGrid-": Family("MiniGrid", "minigrid"),
    # One goal instead of the 50 that `make` otherwise draws and `reset` picks from: 0.2 s an episode, not 0.7 s.
    "Meta-World/MT1": Family("Meta-World", "metaworld", lambda end: end.info_success, seeded_make={"num_goals": 1}),
    "Meta-World/": Family("Meta-World", "metaworld", lambda end: end.info_success, seeded_make={}),
    # The same, and the observation tells the task: recipes.environments registers it.
    "MT50": Family(
        "Meta-World", "metaworld", lambda end: end.info_success, seeded_make={"num_goals": 1}, extra="recipes"
    ),
    "dm_control/": Family("DM Control", "shimmy", extra="dm-control"),
    # With bodies that vary: recipes.environments registers it.
    "DMControl": Family("DM Control", "shimmy", extra="recipes"),
    "Fetch": Family("Fetch", "gymnasium_robotics", lambda end: end.info_success, extra="recipes"),
    "Sokoban/": Family("Sokoban", success=lambda end: end.info_success, extra="recipes"),
    "Procgen/": Family("Procgen", success=lambda end: end.info_success, extra=""),  # its module says how to install it
    "ALE/": Family("ALE", "ale_py", extra="recipes"),
    "LunarLander": Family("Box2D", success=lambda end: end.return_ >= 200),
    "BipedalWalker": Family("Box2D"),
    "CarRacing": Family("Box2D"),
}


def family_of(name: str) -> Family:
    """Find the family of an environment's id without its `module:`; an unknown id gets a family of its own.

    >>> family_of("BabyAI-GoToLocal-v0").domain, family_of("ALE/Pong-v5").domain, family_of("CartPole-v1").domain
    ('BabyAI', 'ALE', 'Gymnasium')
    """
    for beginning, family in FAMILIES.items():
        if name.startswith(beginning):
            return family
    namespace, slash, _ = name.rpartition("/")
    return Family(namespace if slash else "Gymnasium", extra="")


def opengl_simulators(environment: str, frames: bool) -> set[str]:
    """Name the simulators that draw by OpenGL when this environment is played; with `frames`, when it is also filmed.

    environment: an id as for `gymnasium.make`. An id that cannot be found has none: `Recipe.make` reports it.

    >>> opengl_simulators("HalfCheetah-v5", frames=True), opengl_simulators("HalfCheetah-v5", frames=False)
    ({'mujoco'}, set())
    """
    module, _, name = environment.rpartition(":")
    family = family_of(name)
    try:
        for registering in filter(None, (family.module, module)):
            importlib.import_module(registering)
        entry = gymnasium.spec(name).entry_point
    except (ImportError, gymnasium.error.Error):
        return set()
    words = {family.module, *re.split("[.:]", entry if isinstance(entry, str) else entry.__module__)}
    return words & (_OPENGL_ALWAYS | _OPENGL_FOR_FRAMES if frames else _OPENGL_ALWAYS)
