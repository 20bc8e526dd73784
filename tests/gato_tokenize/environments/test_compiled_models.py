"""Models that are compiled once: an environment made again shows and does the same."""

import contextlib
import copy
import json
import unittest.mock
from typing import Any

import metaworld.policies  # registers Meta-World's environments
import mujoco
import numpy as np
import pytest

from gato_tokenize.environments import recipe as recipe_module
from gato_tokenize.environments.compiled_models import MOST_MODELS, compiled_models
from gato_tokenize.environments.recipe import Recipe
from pipelines.sources.rollouts.rollout import Played, Rollout, play

pytestmark = pytest.mark.filterwarnings("ignore")  # simulators warn as they are imported
TASKS = list(metaworld.policies.ENV_POLICY_MAP)


def recipe(task: str) -> Recipe:
    return Recipe("Meta-World/MT1", json.dumps({"env_name": task}))


def episodes(task: str, seeds: range) -> list[Played]:
    return [play(Rollout(recipe(task), max_steps=120, stop_at_success=True), seed) for seed in seeds]


def assert_same(one: list[Played], other: list[Played]) -> None:
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left.observation, right.observation)
        np.testing.assert_array_equal(left.action, right.action)
        np.testing.assert_array_equal(left.rewards, right.rewards)


def compiled_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe_module, "compiled_once", contextlib.nullcontext)


@pytest.mark.parametrize("task", ["door-open-v3", "stick-push-v3", pytest.param("all", marks=pytest.mark.slow)])
def test_episodes_are_those_of_models_compiled_each_time(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each task is played twice from the model that is kept, the second time after an episode changed its copy."""
    tasks = TASKS if task == "all" else [task]
    kept = {name: episodes(name, range(2)) for name in tasks}
    compiled_each_time(monkeypatch)
    for name in tasks:
        assert_same(kept[name], episodes(name, range(2)))


def test_a_model_is_compiled_once_and_an_environment_changes_its_copy_alone() -> None:
    compiled_models.clear()
    with unittest.mock.patch.object(mujoco.MjModel, "from_xml_path", wraps=mujoco.MjModel.from_xml_path) as compiled:
        environment = recipe("reach-v3").make(seed=0)
        masses = environment.unwrapped.model.body_mass.copy()
        environment.unwrapped.model.body_mass[:] = 1e9
        again = recipe("reach-v3").make(seed=1)
        assert compiled.call_count == 1
        assert mujoco.MjModel.from_xml_path is compiled  # as it was before
    np.testing.assert_array_equal(again.unwrapped.model.body_mass, masses)


def test_few_models_are_kept() -> None:
    for task in TASKS[: MOST_MODELS + 2]:
        recipe(task).make(seed=0).close()
    assert len(compiled_models) == MOST_MODELS


def test_models_with_further_files_are_compiled_each_time(tmp_path: Any) -> None:
    (tmp_path / "a.xml").write_text('<mujoco><include file="b.xml"/></mujoco>')
    path = str(tmp_path / "a.xml")
    with recipe_module.compiled_once():
        for radius in "1", "2":
            geom = f'<mujoco><worldbody><geom size="{radius}"/></worldbody></mujoco>'
            model = mujoco.MjModel.from_xml_path(path, {"b.xml": geom.encode()})
            assert copy.copy(model).geom_size[0, 0] == float(radius)
