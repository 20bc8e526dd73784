"""A Gymnasium environment, made by id, that shows the observations which a dataset recorded. Not in `__init__`: the
rest of the package needs no gymnasium."""

import dataclasses
import difflib
import functools
import importlib
import json
import random
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

from gato_tokenize.discrete import index_of_first

IMAGES = ("symbolic", "cells", "rgb")  # what a MiniGrid environment can show; the first by default


class MakeError(ValueError):
    """An environment that cannot be had: unknown, not installed, or not with these options."""


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


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How an environment is made, and what a dataset calls it. Hashable and small: it travels between processes.

    >>> recipe = Recipe("BabyAI-GoToRedBallGrey-v0", image="cells")
    >>> recipe.task, recipe.domain
    ('BabyAI-GoToRedBallGrey-v0-cells', 'BabyAI')
    >>> environment, observation = recipe.start(seed=0)
    >>> mission(observation), observation["image"].shape, observation["image"].dtype
    ('go to the red ball', (7, 7), dtype('int64'))
    >>> environment.close()

    Raises MakeError for an image that the environment does not know, and for kwargs that are no JSON object.
    """

    environment: str  # as for `gymnasium.make`: "BabyAI-GoToLocal-v0", or "module:Id-v0"
    kwargs: str = "{}"  # more keyword arguments of `gymnasium.make`, as JSON
    image: str = ""  # MiniGrid: one of IMAGES; "" where the environment knows no such choice

    def __post_init__(self) -> None:
        self.arguments()
        if family_of(self.name).module == "minigrid":
            object.__setattr__(self, "image", self.image or IMAGES[0])
            if self.image not in IMAGES:
                raise MakeError(f"option image={self.image} must be {', '.join(IMAGES[:-1])} or {IMAGES[-1]}")
        elif self.image:
            raise MakeError(f"option image={self.image} is for MiniGrid and BabyAI; {self.name} gives what it gives")

    @property
    def name(self) -> str:
        """The environment's id without `module:`."""
        return self.environment.rpartition(":")[2]

    @property
    def domain(self) -> str:
        return family_of(self.name).domain

    @property
    def task(self) -> str:
        """The name by which a dataset finds the spec: the environment and all that may change its spaces.

        >>> Recipe("LunarLander-v3", '{"continuous": true}').task, Recipe("Meta-World/MT1", '{"env_name": "a"}').task
        ('LunarLander-v3/continuous=true', 'Meta-World/MT1/a')
        """
        name = self.name if self.image in ("", IMAGES[0]) else f"{self.name}-{self.image}"
        for key, value in sorted(self.arguments().items()):
            text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))
            name += f"/{text}" if key == "env_name" else f"/{key}={text}"
        return name

    def arguments(self) -> dict[str, Any]:
        """`kwargs`, parsed."""
        try:
            parsed = json.loads(self.kwargs)
        except ValueError as error:
            raise MakeError(f"{self.name}: kwargs {self.kwargs!r} are no JSON: {error}") from error
        if not isinstance(parsed, dict):
            raise MakeError(f"{self.name}: kwargs {self.kwargs!r} must be a JSON object, such as {{}}")
        return parsed

    def success(self, ending: Ending) -> bool | None:
        """Whether the task was solved; None where the environment does not tell."""
        judge = family_of(self.name).success
        return None if judge is None else bool(judge(ending))

    def start(self, seed: int) -> tuple[Any, Any]:
        """(environment, first observation) of the episode of a seed: `make`, and all generators seeded: the
        environment's, its action space's, and the global ones of `random` and numpy. Close it."""
        random.seed(seed)
        np.random.seed(seed % 2**32)
        environment = self.make(seed)
        try:
            environment.action_space.seed(seed)
            observation, _ = environment.reset(seed=seed)
        except BaseException:
            environment.close()
            raise
        return environment, observation

    def make(self, seed: int) -> Any:
        """The environment, wrapped for `image`; the seed counts for those that draw when they are made.

        Raises MakeError for an unknown id (with close ones), a package that is not installed, keyword arguments that
        the environment does not take, an id without version.
        """
        family, kwargs = family_of(self.name), self.arguments()
        if family.seeded_make is not None:
            kwargs = {**family.seeded_make, "seed": seed, **kwargs}
        try:
            importlib.import_module(family.module)
            environment = gymnasium.make(self.environment, disable_env_checker=True, **kwargs)
        except Exception as error:
            raise MakeError(self._why_not(error)) from error
        if environment.spec.id != self.name:
            now = environment.spec.id
            environment.close()
            raise MakeError(f"{self.name} is {now} today and may be another tomorrow: write the version")
        return _show(environment, self.image)

    def _why_not(self, error: Exception) -> str:
        if isinstance(error, (ImportError, gymnasium.error.DependencyNotInstalled)):
            cure = "" if ":" in self.environment else ": pip install 'gato-toolchain[rollouts]' installs what is known"
            return f"{self.name} needs a package that cannot be imported ({error}){cure}"
        if isinstance(error, (gymnasium.error.UnregisteredEnv, gymnasium.error.DeprecatedEnv)):
            close = difflib.get_close_matches(self.name, list(gymnasium.registry), n=3)
            return f"unknown environment {self.name!r}: {error} Close: {', '.join(close) or 'none'}"
        return f"{self.name} cannot be made with the options {self.kwargs}: {type(error).__name__}: {error}"


def _show(environment: Any, image: str) -> Any:
    if image == "rgb":
        from minigrid.wrappers import RGBImgPartialObsWrapper

        return RGBImgPartialObsWrapper(environment, tile_size=8)  # uint8[56, 56, 3]
    return CellIds(environment) if image == "cells" else environment


class CellIds(gymnasium.ObservationWrapper):  # type: ignore[misc]
    """A MiniGrid environment whose `image` is one number a cell instead of three: a third of the tokens."""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        spaces = environment.observation_space.spaces
        count, shape = int(np.prod(_cell_sizes())), spaces["image"].shape[:-1]
        box = gymnasium.spaces.Box(0, count - 1, shape, np.int64)
        self.observation_space = gymnasium.spaces.Dict({**spaces, "image": box})

    def observation(self, observation: Any) -> Any:
        return {**observation, "image": cell_ids(observation["image"])}


def cell_ids(grid: ArrayLike) -> NDArray[np.int64]:
    """(object, colour, state) of MiniGrid's cells, int[..., 3] -> int64[...]: (object * 6 + colour) * 4 + state,
    below 264. The sizes are minigrid's own.

    >>> cell_ids([[1, 0, 0], [4, 5, 2]])  # an empty cell, a locked grey door
    array([ 24, 118])

    Raises ValueError naming the first cell with a number that minigrid does not know.
    """
    sizes, cells = _cell_sizes(), np.asarray(grid, np.int64)
    wrong = np.asarray(((cells < 0) | (cells >= sizes)).any(axis=-1))
    if wrong.any():
        at = index_of_first(wrong)
        raise ValueError(f"cell {at} is {cells[at].tolist()}: object, colour, state must be below {sizes}")
    return np.asarray((cells[..., 0] * sizes[1] + cells[..., 1]) * sizes[2] + cells[..., 2])


@functools.cache
def _cell_sizes() -> tuple[int, int, int]:
    """How many objects, colours and states there are; an agent's state is its direction."""
    from minigrid.core.constants import COLOR_TO_IDX, DIR_TO_VEC, OBJECT_TO_IDX, STATE_TO_IDX

    objects, colours, states = (max(table.values()) + 1 for table in (OBJECT_TO_IDX, COLOR_TO_IDX, STATE_TO_IDX))
    return objects, colours, max(states, len(DIR_TO_VEC))


def legal(space: Any, action: Any) -> Any:
    """The action as it is recorded and played: within a Box's bounds and of its dtype; an int for a Discrete."""
    if isinstance(space, gymnasium.spaces.Box):
        return np.clip(action, space.low, space.high).astype(space.dtype)
    return int(action) if isinstance(space, gymnasium.spaces.Discrete) else action


def mission(observation: Any) -> str:
    """What the agent is told to do; "" where it is told nothing."""
    return str(observation.get("mission", "")) if isinstance(observation, Mapping) else ""
