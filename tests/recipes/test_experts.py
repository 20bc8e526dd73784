"""The experts and environments of recipes/: they play well, they are told from random play, and seeds rule them."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import needs
import numpy as np
import pytest

from gato_tokenize.environments.playing import PlayedEpisode, legal
from gato_tokenize.environments.recipe import MakeError, Recipe
from pipelines.sources.rollouts.rollout import Rollout, play
from recipes.environments.meta_world import TASKS
from recipes.experts.sokoban import solve

pytestmark = pytest.mark.filterwarnings("ignore")  # simulators warn as they are imported

SOKOBAN, VARIANTS = "recipes.environments.sokoban:Sokoban", "recipes.environments.dm_control_variants:DMControl"
MAZE = "recipes.environments.procgen:Procgen/maze-easy-v0"
EXPERTS = {  # environment: (policy, a return between that of random actions and that of the expert)
    "CartPole-v1": ("classic:cart_pole", 450.0),
    "Pendulum-v1": ("classic:pendulum", -500.0),
    "MountainCar-v0": ("classic:mountain_car", -160.0),
    "MountainCarContinuous-v0": ("classic:mountain_car_continuous", 80.0),
    "Acrobot-v1": ("classic:acrobot", -250.0),
    "dm_control/cartpole-balance-v0": ("dm_control:cartpole", 900.0),
    "dm_control/cartpole-swingup-v0": ("dm_control:cartpole", 600.0),
    "dm_control/pendulum-swingup-v0": ("dm_control:pendulum", 700.0),
    "dm_control/point_mass-easy-v0": ("dm_control:point_mass", 700.0),
    "dm_control/reacher-easy-v0": ("dm_control:reacher", 850.0),
    "dm_control/reacher-hard-v0": ("dm_control:reacher", 850.0),
    f"{VARIANTS}Small/cartpole-swingup-v0": ("dm_control:cartpole", 600.0),
    f"{VARIANTS}Large/pendulum-swingup-v0": ("dm_control:pendulum", 600.0),
    f"{SOKOBAN}/7x7-2boxes-v0": ("sokoban:solver", 9.5),
    f"{SOKOBAN}/7x7-3boxes-v0": ("sokoban:solver", 8.5),
    MAZE: ("procgen:maze", 9.0),
    "FetchReach-v4": ("fetch:reach", -10.0),
    "recipes.environments.meta_world:MT50/door-close-v3": ("meta_world:scripted", 1000.0),
    "ALE/Breakout-v5": ("atari:breakout", 8.0),
    "ALE/Freeway-v5": ("atari:freeway", 15.0),
}

SCRIPTED = "recipes.experts.meta_world:scripted"


def with_needs(name: str) -> Any:
    """The parameter of a test that plays this environment."""
    of_dm_control = name.startswith(("dm_control/", VARIANTS))
    return pytest.param(name, marks=needs.DM_CONTROL if of_dm_control else needs.PROCGEN if name == MAZE else ())


@pytest.mark.parametrize("name", [with_needs(name) for name in EXPERTS])
def test_an_expert_of_a_few_lines_plays_well(name: str) -> None:
    policy, enough = EXPERTS[name]
    module, function = policy.split(":")
    make_policy = getattr(importlib.import_module(f"recipes.experts.{module}"), function)
    returns = []
    for seed in range(1 if name.startswith("ALE/") else 3):
        environment, observation = Recipe(name).start(seed)
        act, episode = make_policy(environment), PlayedEpisode(environment, observation)
        while not episode.over:
            episode.step(legal(environment.action_space, act(episode.observation)))
        returns.append(sum(episode.rewards))
        environment.close()
    assert np.mean(returns) > enough


@pytest.mark.parametrize(
    "name", [with_needs(name) for name in (f"{SOKOBAN}/7x7-2boxes-v0", f"{VARIANTS}Large/cartpole-swingup-v0", MAZE)]
)
def test_an_episode_is_a_function_of_its_seed(name: str) -> None:
    rollout = Rollout(Recipe(name), "random", max_steps=20)
    first, other, again = (play(rollout, seed) for seed in (3, 4, 3))
    for part in first.observation if isinstance(first.observation, dict) else [None]:
        one, two, three = (
            played.observation if part is None else played.observation[part] for played in (first, again, other)
        )
        np.testing.assert_array_equal(one, two)
        assert not np.array_equal(one, three)


@needs.DM_CONTROL
def test_bodies_vary_within_their_span_and_from_episode_to_episode() -> None:
    environment = Recipe(f"{VARIANTS}Small/cartpole-swingup-v0").make(seed=0)
    plain = Recipe("dm_control/cartpole-swingup-v0").make(seed=0)
    usual = plain.unwrapped._env.physics.model.body_mass
    factors = set()
    for seed in range(5):
        environment.reset(seed=seed)
        mass = environment.unwrapped._env.physics.model.body_mass
        (factor,) = set(np.round(mass[usual > 0] / usual[usual > 0], 9).tolist())
        assert 0.9 <= factor <= 1.1
        factors.add(factor)
    assert len(factors) == 5


@needs.PROCGEN
def test_the_expert_of_mazes_knows_where_the_mouse_is_after_random_actions() -> None:
    """It is where Procgen has it, or the way from there would not end at the cheese."""
    noisy = Rollout(Recipe(MAZE), "recipes.experts.procgen:maze", max_steps=200, noise=0.5)
    assert all(play(noisy, seed).ending.info_success for seed in range(20))
    assert not all(play(Rollout(Recipe(MAZE), "random", max_steps=20), seed).ending.info_success for seed in range(20))


def test_without_procgen_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "procgen", None)
    monkeypatch.delitem(sys.modules, "recipes.environments.procgen", raising=False)
    with pytest.raises(MakeError, match="pip install --no-deps procgen-mirror==0.10.7 gym3==0.3.3"):
        Recipe(MAZE).make(seed=0)
    root = Path(__file__).parents[2]
    for name in "Makefile", "recipes/README.md":  # where the same versions are named
        text = (root / name).read_text(encoding="utf-8")
        assert "procgen-mirror==0.10.7" in text and "gym3==0.3.3" in text


@needs.PROCGEN
def test_a_maze_ends_at_the_cheese_or_after_500_steps() -> None:
    environment, observation = Recipe(MAZE).start(1)
    assert environment.observation_space.contains(observation)
    for step in range(1, 501):
        seen, reward, terminated, truncated, info = environment.step(4)  # waits
        assert (reward, terminated, truncated, info["success"]) == (0, False, step == 500, False)
        np.testing.assert_array_equal(seen, observation)


@pytest.mark.parametrize("policy", ["expert", "random"])
def test_a_task_that_is_told_is_played_as_meta_worlds_own(policy: str) -> None:
    """Reach and pick-place begin with the same numbers; only the task's number says which of them it is."""
    told = {"expert": SCRIPTED}.get(policy, policy)
    first = {}
    for task in "reach-v3", "pick-place-v3":
        plain = play(Rollout(Recipe("Meta-World/MT1", json.dumps({"env_name": task})), policy, 200, True), 3)
        mine = play(Rollout(Recipe(f"recipes.environments.meta_world:MT50/{task}"), told, 200, True), 3)
        np.testing.assert_array_equal(mine.observation["observation"], plain.observation)
        np.testing.assert_array_equal(mine.action, plain.action)
        assert (mine.ending, mine.truncated) == (plain.ending, plain.truncated)
        assert set(mine.observation["task"].tolist()) == {TASKS.index(task)}
        first[task] = plain.observation[0]
    np.testing.assert_array_equal(*first.values())


def test_places_from_the_hand_are_those_of_meta_worlds_observation() -> None:
    """The same episode with both: push has one object, hammer two."""
    for task in "push-v3", "hammer-v3":
        told, relative = (
            play(Rollout(Recipe(f"recipes.environments.meta_world:{name}/{task}"), SCRIPTED, 200, True), 3)
            for name in ("MT50", "MT50Relative")
        )
        np.testing.assert_array_equal(relative.action, told.action)
        whole, seen = told.observation["observation"], relative.observation
        np.testing.assert_array_equal(seen["hand"], whole[:, :4])
        np.testing.assert_allclose(seen["object"][:, :3] + seen["hand"][:, :3], whole[:, 4:7])
        np.testing.assert_array_equal(seen["object"][:, 3:], whole[:, 7:11])
        if task == "push-v3":
            assert not seen["other_object"].any() and not whole[:, 11:18].any()
        else:
            np.testing.assert_allclose(seen["other_object"][:, :3] + seen["hand"][:, :3], whole[:, 11:14])
        np.testing.assert_allclose(seen["goal"] + seen["hand"][:, :3], whole[:, 36:])
        np.testing.assert_array_equal(seen["task"], told.observation["task"])


def room(*rows: str) -> Any:
    """A Sokoban room as people draw it: # wall, . target, $ box, * box on a target, @ player, + player on a target."""
    return np.array([["# .*$@+".index(cell) for cell in row] for row in rows])


def test_the_solver_takes_the_fewest_pushes() -> None:
    assert solve(room("######", "#@$ .#", "######")) == [3, 3]
    assert solve(room("#####", "#  .#", "# $ #", "#@  #", "#####")) in ([3, 0, 2, 0, 3], [0, 3, 3, 1, 3, 0])
    with pytest.raises(ValueError, match="cannot be solved"):
        solve(room("#####", "#$@.#", "#####"))


def test_a_room_says_when_all_boxes_are_on_targets() -> None:
    environment, observation = Recipe(f"{SOKOBAN}/7x7-2boxes-v0").start(1)
    assert environment.observation_space.contains(observation)
    moves, rewards = solve(observation), []
    for move in moves:
        observation, reward, terminated, truncated, info = environment.step(move)
        rewards.append(reward)
        assert environment.observation_space.contains(observation)
    assert terminated and not truncated and info["success"] and rewards[-1] > 9


def test_a_player_on_the_last_target_has_not_solved_the_room() -> None:
    """It stands there and pushes a box against the wall; what was observed before stays as it was."""
    environment, _ = Recipe(f"{SOKOBAN}/7x7-2boxes-v0").start(1)
    inside = environment.unwrapped._room
    start = room("#####", "#$.@#", "#####")
    inside.room_state, inside.room_fixed = start.copy(), room("#####", "# . #", "#####")
    inside.player_position, inside.num_boxes = np.array([1, 3]), 1
    seen = [environment.step(move) for move in (2, 2, 2)]
    for observation, _, terminated, _, info in seen:
        assert observation.tolist() == room("#####", "#$+ #", "#####").tolist()
        assert not terminated and not info["success"]
    assert environment.step(3)[0].tolist() == start.tolist() != seen[-1][0].tolist()
