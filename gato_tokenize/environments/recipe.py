"""A Gymnasium environment, made by id, that shows the observations which a dataset recorded. Not in `__init__`: the
rest of the package needs no gymnasium."""

import dataclasses
import difflib
import importlib
import json
import random
from typing import Any

import gymnasium
import numpy as np

from gato_tokenize.environments.families import Ending, family_of
from gato_tokenize.environments.minigrid import IMAGES, _show


class MakeError(ValueError):
    """An environment that cannot be had: unknown, not installed, or not with these options."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How an environment is made, and what a dataset calls it. Hashable and small: it travels between processes.

    >>> recipe = Recipe("BabyAI-GoToRedBallGrey-v0", image="cells")
    >>> recipe.task, recipe.domain
    ('BabyAI-GoToRedBallGrey-v0-cells', 'BabyAI')
    >>> environment, observation = recipe.start(seed=0)
    >>> str(observation["mission"]), observation["image"].shape, observation["image"].dtype
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
