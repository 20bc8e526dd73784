"""Environments by id: their names, what they show, how they end."""

import pickle
import random
import sys
from typing import Any

import gymnasium
import minigrid.wrappers  # noqa: F401  (registers)
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX, STATE_TO_IDX

from gato_tokenize import DiscreteSpec, spec_from_spaces
from gato_tokenize.environments.families import Ending
from gato_tokenize.environments.minigrid import cell_ids
from gato_tokenize.environments.recipe import MakeError, Recipe
from gato_tokenize.roles import Roles


def test_a_recipe_travels_and_can_be_a_key() -> None:
    recipe = Recipe("BabyAI-GoToLocal-v0", '{"room_size": 6}', "cells")
    assert pickle.loads(pickle.dumps(recipe)) == recipe and len({recipe, recipe}) == 1


class TestTask:
    @pytest.mark.parametrize(
        "recipe, task",
        [
            (Recipe("BabyAI-GoToLocal-v0"), "BabyAI-GoToLocal-v0"),
            (Recipe("BabyAI-GoToLocal-v0", image="symbolic"), "BabyAI-GoToLocal-v0"),
            (Recipe("BabyAI-GoToLocal-v0", image="rgb"), "BabyAI-GoToLocal-v0-rgb"),
            (Recipe("MiniGrid-Empty-5x5-v0", image="cells"), "MiniGrid-Empty-5x5-v0-cells"),
            (
                Recipe("CarRacing-v3", roles=Roles({"observation": "image"}, (96, 96))),
                "CarRacing-v3/roles=observation:image/resize=96x96",
            ),
            (Recipe("my_module:My/Env-v0", '{"b": [1, 2], "a": "x"}'), "My/Env-v0/a=x/b=[1,2]"),
        ],
    )
    def test_holds_all_that_may_change_the_spaces(self, recipe: Recipe, task: str) -> None:
        assert recipe.task == task

    def test_the_default_image_is_filled_in(self) -> None:
        assert Recipe("BabyAI-GoToLocal-v0") == Recipe("BabyAI-GoToLocal-v0", image="symbolic")
        assert Recipe("LunarLander-v3").image == ""


class TestStart:
    def test_depends_on_the_seed_alone(self) -> None:
        """The global generators too: an environment may draw from them."""
        drawn = []
        for seed in (7, 8, 7):
            environment, observation = Recipe("BabyAI-GoToLocal-v0").start(seed)
            drawn.append((observation["image"].tobytes(), environment.action_space.sample(), random.random()))
            drawn[-1] += (np.random.random(),)  # type: ignore[operator]
            environment.close()
        assert drawn[0] == drawn[2] != drawn[1]

    def test_closes_what_cannot_be_reset(self, monkeypatch: pytest.MonkeyPatch) -> None:
        closed = []
        monkeypatch.setattr(Unready, "close", lambda self: closed.append(True))
        with pytest.raises(RuntimeError, match="not today"):
            Recipe("Unready-v0").start(0)
        assert closed == [True]


class Unready(gymnasium.Env):
    observation_space = action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        raise RuntimeError("not today")


gymnasium.register("Unready-v0", entry_point=Unready)


class TestCells:
    def test_a_case_by_hand(self) -> None:
        """A red key (5, 0, 0), a closed blue door (4, 2, 1), an agent looking up (10, 0, 3)."""
        assert cell_ids([[[5, 0, 0], [4, 2, 1]], [[10, 0, 3], [0, 0, 0]]]).tolist() == [[120, 105], [243, 0]]

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(sorted(OBJECT_TO_IDX.values())),
                st.sampled_from(sorted(COLOR_TO_IDX.values())),
                st.sampled_from([*STATE_TO_IDX.values(), 3]),
            ),
            min_size=1,
        )
    )
    def test_nothing_is_lost(self, cells: list[tuple[int, int, int]]) -> None:
        ids = cell_ids(cells)
        assert ids.min() >= 0 and ids.max() < 264
        rest, state = np.divmod(ids, 4)
        assert np.array_equal(np.stack([*np.divmod(rest, 6), state], axis=-1), cells)

    @pytest.mark.parametrize("cell", [(11, 0, 0), (0, 6, 0), (0, 0, 4), (0, -1, 0)])
    def test_a_number_that_does_not_fit_is_refused(self, cell: tuple[int, int, int]) -> None:
        grid = np.zeros((2, 2, 3), np.int64)
        grid[0, 1] = cell
        with pytest.raises(ValueError, match=r"cell \(0, 1\) is \[.*must be below \(11, 6, 4\)"):
            cell_ids(grid)

    def test_each_step_shows_the_grid_of_the_plain_environment(self) -> None:
        (cells, seen), (plain, grid) = (Recipe("BabyAI-Open-v0", image=image).start(4) for image in ("cells", ""))
        for _ in range(30):
            assert np.array_equal(seen["image"], cell_ids(grid["image"])) and cells.observation_space.contains(seen)
            assert {**seen, "image": 0} == {**grid, "image": 0}
            action = plain.action_space.sample()
            seen, grid = cells.step(action)[0], plain.step(action)[0]

    def test_the_spec_is_discrete_whatever_the_size_of_the_view(self) -> None:
        environment = Recipe("MiniGrid-Empty-5x5-v0", '{"agent_view_size": 5}', "cells").make(0)
        spec = spec_from_spaces(environment.observation_space, environment.action_space)
        assert spec.observation["image"] == DiscreteSpec(264, (5, 5))
        assert spec.observation["direction"] == DiscreteSpec(4)


@pytest.mark.parametrize(
    "name, ending, success",
    [
        ("BabyAI-GoToLocal-v0", Ending(0.9, 0.9, True, False), True),
        ("BabyAI-GoToLocal-v0", Ending(0.0, 0.0, True, False), False),
        ("BabyAI-GoToLocal-v0", Ending(0.9, 0.9, False, False), False),
        ("Meta-World/MT1", Ending(9.0, 1.0, False, True), True),
        ("Meta-World/MT10", Ending(9.0, 1.0, True, False), False),
        ("LunarLander-v3", Ending(200.0, -1.0, True, False), True),
        ("LunarLanderContinuous-v3", Ending(199.0, 100.0, True, False), False),
        ("CartPole-v1", Ending(500.0, 1.0, False, True), None),
    ],
)
def test_success_is_judged_by_the_family(name: str, ending: Ending, success: bool | None) -> None:
    assert Recipe(name).success(ending) is success


class TestErrors:
    @pytest.mark.parametrize(
        "environment, kwargs, image, message",
        [
            ("BabyAI-GoToLocal-v0", "{}", "jpeg", "image=jpeg must be symbolic, cells or rgb"),
            (
                "LunarLander-v3",
                "{}",
                "cells",
                "image=cells is for MiniGrid and BabyAI; LunarLander-v3 offers no choice",
            ),
            ("CartPole-v1", "[1]", "", r"CartPole-v1: kwargs '\[1\]' must be a JSON object"),
            ("CartPole-v1", "{", "", "CartPole-v1: kwargs '{' are not JSON"),
        ],
    )
    def test_nonsense_is_refused_when_built(self, environment: str, kwargs: str, image: str, message: str) -> None:
        with pytest.raises(MakeError, match=message):
            Recipe(environment, kwargs, image)

    @pytest.mark.parametrize(
        "environment, kwargs, message",
        [
            ("BabyAI-GoToLocl-v0", "{}", "'BabyAI-GoToLocl-v0'.*Close: BabyAI-GoToLocal-v0"),
            ("CartPole", "{}", "CartPole is CartPole-v1 today.*write the version"),
            ("no_such_module:Any-v0", "{}", "Any-v0 needs a package.*no_such_module.*imported[.][)]$"),
            ("CartPole-v1", '{"gravty": 5}', "CartPole-v1 cannot be made with the options.*'gravty'"),
        ],
    )
    @pytest.mark.filterwarnings("ignore:.*Using the latest versioned environment")
    def test_what_cannot_be_made_says_why(self, environment: str, kwargs: str, message: str) -> None:
        with pytest.raises(MakeError, match=message):
            Recipe(environment, kwargs).make(0)

    @pytest.mark.parametrize(
        ("package", "name", "extra"),
        [
            ("minigrid", "BabyAI-GoToLocal-v0", "rollouts"),
            ("shimmy", "dm_control/cartpole-swingup-v0", "dm-control"),
            ("ale_py", "ALE/Breakout-v5", "recipes"),
            ("gymnasium_robotics", "FetchReach-v4", "recipes"),
            ("recipes.environments.sokoban", "recipes.environments.sokoban:Sokoban/7x7-2boxes-v0", "recipes"),
        ],
    )
    def test_an_uninstalled_package_names_its_extra(
        self, package: str, name: str, extra: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MakeError, match=rf" needs a package.*pip install.*\[{extra}\]"):
            Recipe(name).make(0)

    def test_a_package_that_is_there_but_cannot_be_loaded_is_not_to_be_installed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise ImportError("libGL.so.1: cannot open shared object file")

        monkeypatch.setattr(gymnasium, "make", fail)
        with pytest.raises(MakeError, match="is installed but cannot be loaded: libGL") as refused:
            Recipe("BabyAI-GoToLocal-v0").make(0)
        assert "pip install" not in str(refused.value)
