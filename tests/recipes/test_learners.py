"""Models that play while their experts are recorded."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")
from needs import DM_CONTROL

from gato_model.shipped import model_path
from gato_tokenize import Episode
from gato_tokenize.environments.recipe import Recipe
from pipelines.sources import open_source
from pipelines.sources.reading import read_partition
from recipes import learners


@pytest.mark.filterwarnings("ignore")  # simulators warn as they are imported
@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("Pendulum-v1"),
        Recipe("LunarLander-v3"),
        Recipe("LunarLander-v3", '{"continuous": true}'),
        pytest.param(
            Recipe("recipes.environments.dm_control_variants:DMControlSmall/reacher-easy-v0"), marks=DM_CONTROL
        ),
    ],
)
def test_a_task_is_named_as_in_the_datasets(recipe: Recipe) -> None:
    environment = recipe.make(seed=0)
    assert learners._task(environment.spec) == recipe.task
    environment.close()


def test_the_model_plays_and_the_expert_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the model that comes with the package. An episode is a function of its seed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / learners.FOURTH).symlink_to(model_path("demo"))
    source = "rollouts:Pendulum-v1?policy=recipes.experts.classic:pendulum&episodes=2&max_steps=20&seed=5"
    found = {}
    for name in ("", "&learner=recipes.learners:fourth", "&learner=recipes.learners:fourth&time_limit=50"):
        opened = open_source(source + name)
        (partition,) = opened.partitions()
        found[name] = [episode for _, episode in read_partition(opened, partition)]
    alone, led, again = found.values()
    for one, other, same in zip(alone, led, again, strict=True):
        assert isinstance(one, Episode) and isinstance(other, Episode) and isinstance(same, Episode)
        np.testing.assert_array_equal(one.observations[0], other.observations[0])
        assert not np.array_equal(one.observations, other.observations)
        np.testing.assert_array_equal(other.observations, same.observations)
        np.testing.assert_array_equal(other.actions, same.actions)
