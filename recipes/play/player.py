"""Player: a trained model that plays the tasks of the recipes."""

import dataclasses
import functools
import threading
from collections.abc import Generator
from typing import Any

from gato_model.acting.policy import GatoPolicy
from gato_model.acting.pretrained import Which, load_model
from gato_model.shipped import model_path
from gato_tokenize.storage.dataset import DatasetTokenizer
from pipelines.sources.rollouts.rollout import Rollout
from recipes.make_corpus import QUICKEST_FIRST
from recipes.play.episode import lines
from recipes.scores import ACTING, BY_OBSERVATION, rollouts


class Player:
    """A model and the tasks of the recipes that it knows. It acts as `recipes.scores` lets it act by default.

    max_steps: cut episodes after so many steps; 0: the recipe says when they end.

    Raises CheckpointError if the folder holds no model.
    """

    def __init__(self, folder: str, which: Which = "best", max_steps: int = 0) -> None:
        self.folder, self._max_steps = folder, max_steps
        self._model, self._tokenizer = load_model(folder, which), DatasetTokenizer.load(model_path(folder))
        self.tasks: dict[str, tuple[str, Rollout]] = {  # {task: (its recipe, how it is played)}
            rollout.recipe.task: (recipe, rollout)
            for recipe, rollout in rollouts(list(QUICKEST_FIRST))
            if rollout.recipe.task in self._tokenizer.specs
        }
        self._policy = functools.lru_cache(maxsize=4)(self._new_policy)
        self._alone = threading.Lock()

    def acting(self, task: str) -> dict[str, Any]:
        """Return the options of the policy of a task."""
        chosen: dict[str, Any] = ACTING.get(self.tasks[task][0], BY_OBSERVATION)
        return {"temperature": 1.0, **chosen}

    def lines(self, task: str, seed: int) -> Generator[dict[str, Any], None, None]:
        """Play an episode of the model and one of the expert, one pair at a time: see `episode.lines`."""
        rollout = self.tasks[task][1]
        if self._max_steps:
            rollout = dataclasses.replace(rollout, max_steps=min(rollout.max_steps or self._max_steps, self._max_steps))
        with self._alone:
            yield from lines(self._policy(task), rollout, seed)

    def _new_policy(self, task: str) -> GatoPolicy:
        return GatoPolicy(self._model, self._tokenizer.task(task), **self.acting(task))
