"""Recipe: how to make the Gymnasium environment that a dataset recorded, so that it shows the same observations.

The package's `__init__` does not export it, because the rest of the package needs no Gymnasium.
"""

import dataclasses
import difflib
import importlib
import json
import random
from typing import Any

import gymnasium
import numpy as np

from gato_tokenize.environments.compiled_models import compiled_once
from gato_tokenize.environments.families import Ending, family_of
from gato_tokenize.environments.minigrid import IMAGES, with_image
from gato_tokenize.installing import how_to_install
from gato_tokenize.roles import Roles


class MakeError(ValueError):
    """The environment cannot be made: it is unknown, not installed, or does not take these options."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The id and options that make an environment, and the names that a dataset gives it.

    It is hashable and small, because it travels between processes.

    >>> recipe = Recipe("BabyAI-GoToRedBallGrey-v0", image="cells")
    >>> recipe.task, recipe.domain
    ('BabyAI-GoToRedBallGrey-v0-cells', 'BabyAI')
    >>> environment, observation = recipe.start(seed=0)
    >>> str(observation["mission"]), observation["image"].shape, observation["image"].dtype
    ('go to the red ball', (7, 7), dtype('int64'))
    >>> environment.close()

    Raises MakeError for an image that the environment cannot show, and for kwargs that are not a JSON object.
    """

    environment: str  # as for `gymnasium.make`: "BabyAI-GoToLocal-v0", or "module:Id-v0"
    kwargs: str = "{}"  # more keyword arguments of `gymnasium.make`, as JSON
    image: str = ""  # MiniGrid: one of IMAGES; "" for environments without such a choice
    roles: Roles = Roles()  # what its fields were taken for: `read_spaces` needs them to show the same

    def __post_init__(self) -> None:
        self.arguments()
        if family_of(self.name).module == "minigrid":
            object.__setattr__(self, "image", self.image or IMAGES[0])
            if self.image not in IMAGES:
                raise MakeError(f"option image={self.image} must be {', '.join(IMAGES[:-1])} or {IMAGES[-1]}")
        elif self.image:
            raise MakeError(f"option image={self.image} is for MiniGrid and BabyAI; {self.name} offers no choice")

    @property
    def name(self) -> str:
        """The environment's id without `module:`."""
        return self.environment.rpartition(":")[2]

    @property
    def domain(self) -> str:
        return family_of(self.name).domain

    @property
    def task(self) -> str:
        """The name under which a dataset keeps the spec: the environment and all that may change its spaces.

        >>> Recipe("LunarLander-v3", '{"continuous": true}').task, Recipe("Meta-World/MT1", '{"env_name": "a"}').task
        ('LunarLander-v3/continuous=true', 'Meta-World/MT1/a')
        """
        name = self.name if self.image in ("", IMAGES[0]) else f"{self.name}-{self.image}"
        for key, value in sorted(self.arguments().items()):
            text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))
            name += f"/{text}" if key == "env_name" else f"/{key}={text}"
        return name + self.roles.suffix

    def arguments(self) -> dict[str, Any]:
        """Return `kwargs` parsed. Raises MakeError if they are not a JSON object."""
        try:
            parsed = json.loads(self.kwargs)
        except ValueError as error:
            raise MakeError(f"{self.name}: kwargs {self.kwargs!r} are not JSON: {error}") from error
        if not isinstance(parsed, dict):
            raise MakeError(f"{self.name}: kwargs {self.kwargs!r} must be a JSON object, such as {{}}")
        return parsed

    @property
    def reports_success(self) -> bool:
        """Whether `success` can judge an episode."""
        return family_of(self.name).success is not None

    def success(self, ending: Ending) -> bool | None:
        """Judge whether the task was solved; None if the environment does not report it."""
        judge = family_of(self.name).success
        return None if judge is None else bool(judge(ending))

    def start(self, seed: int) -> tuple[Any, Any]:
        """Make the environment and start the episode of a seed: (environment, first observation). The caller closes it.

        Every generator is seeded: the environment's, its action space's, and the global ones of `random` and numpy.
        """
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
        """Make the environment, wrapped for `image`. The seed matters to environments that draw when they are made.

        Raises MakeError for an unknown id (naming similar ones), a package that is not installed, keyword arguments
        that the environment does not take, or an id without a version.
        """
        family, kwargs = family_of(self.name), self.arguments()
        if family.seeded_make is not None:
            kwargs = {**family.seeded_make, "seed": seed, **kwargs}
        try:
            importlib.import_module(family.module)
            with compiled_once():
                environment = gymnasium.make(self.environment, disable_env_checker=True, **kwargs)
        except Exception as error:
            raise MakeError(self._why_not(error)) from error
        if environment.spec.id != self.name:
            now = environment.spec.id
            environment.close()
            raise MakeError(f"{self.name} is {now} today and may be another version tomorrow: write the version")
        return with_image(environment, self.image)

    def _why_not(self, error: Exception) -> str:
        if isinstance(error, ImportError) and not isinstance(error, ModuleNotFoundError):
            return f"{self.name} needs a package that is installed but cannot be loaded: {error}"
        if isinstance(error, (ImportError, gymnasium.error.DependencyNotInstalled)):
            extra = family_of(self.name).extra or ("" if ":" in self.environment else "rollouts")
            cure = f": {how_to_install(extra)} installs the known ones" if extra else ""
            return f"{self.name} needs a package that cannot be imported ({error}){cure}"
        if isinstance(error, (gymnasium.error.UnregisteredEnv, gymnasium.error.DeprecatedEnv)):
            close = difflib.get_close_matches(self.name, list(gymnasium.registry), n=3)
            return f"unknown environment {self.name!r}: {error} Close: {', '.join(close) or 'none'}"
        return f"{self.name} cannot be made with the options {self.kwargs}: {type(error).__name__}: {error}"
