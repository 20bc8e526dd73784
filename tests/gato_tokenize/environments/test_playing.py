"""An episode while it is played: how it ends, what is counted; actions and instructions."""

import subprocess
import sys

import gymnasium
import needs
import numpy as np
import pytest

from gato_tokenize.environments.families import opengl_simulators
from gato_tokenize.environments.playing import PlayedEpisode, legal, mission, playable


class Scripted(gymnasium.Env):
    """Each action is the step's own outcome: (reward, terminated, truncated, info)."""

    action_space = observation_space = gymnasium.spaces.Discrete(2)

    def step(self, action):
        reward, terminated, truncated, info = action
        return f"after {reward}", np.float32(reward), np.bool_(terminated), np.bool_(truncated), info


def played(*outcomes, max_steps=0):
    episode = PlayedEpisode(Scripted(), "first", max_steps)
    for outcome in outcomes:
        assert not episode.over
        episode.step(outcome)
    return episode


def test_an_episode_by_hand():
    episode = played((1, 0, 0, {}), (2, 0, 0, {"success": 1.0}), (4, 1, 0, {"success": 0.0}))
    assert (episode.over, episode.terminated, episode.truncated) == (True, True, False)
    assert (episode.observation, episode.rewards) == ("after 4", [1.0, 2.0, 4.0])
    ending = episode.ending
    assert (ending.return_, ending.last_reward, ending.terminated, ending.info_success) == (7.0, 4.0, True, True)


@pytest.mark.parametrize("reward", [float("nan"), float("inf"), -float("inf")])
def test_a_reward_that_is_not_finite_is_named(reward):
    with pytest.raises(ValueError, match=rf"the reward of step 1 is {reward}, not a finite number"):
        played((1, 0, 0, {}), (reward, 0, 0, {}))


@pytest.mark.parametrize(
    ("last", "max_steps", "over", "terminated", "truncated"),
    [
        ((0, 0, 0, {}), 0, False, False, False),
        ((0, 0, 0, {}), 3, False, False, False),
        ((0, 0, 0, {}), 2, True, False, True),  # cut
        ((0, 1, 0, {}), 2, True, True, False),  # ends by itself just where it would be cut
        ((0, 0, 1, {}), 0, True, False, True),
        ((0, 1, 1, {}), 0, True, True, True),
    ],
)
def test_how_an_episode_ends(last, max_steps, over, terminated, truncated):
    episode = played((0, 0, 0, {}), last, max_steps=max_steps)
    assert (episode.over, episode.terminated, episode.truncated) == (over, terminated, truncated)
    assert not episode.ending.info_success


def test_the_mission_is_text_or_nothing() -> None:
    assert (mission({"mission": "go to a door"}), mission({"image": 1}), mission(np.zeros(2))) == (
        "go to a door",
        "",
        "",
    )


def test_actions_are_made_legal() -> None:
    box = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
    action = legal(box, [0.5, -7, np.inf])
    assert (action.tolist(), action.dtype) == ([0.5, -1, 1], np.float32)
    assert type(legal(gymnasium.spaces.Discrete(3), np.array(2))) is int
    several = np.array([1, 0])
    assert legal(gymnasium.spaces.MultiBinary(2), several) is several


def test_an_action_in_the_environments_form():
    spaces = gymnasium.spaces
    inner = spaces.Dict({"go": spaces.Discrete(2), "turn": spaces.Box(-1, 1, (2,), np.float32)})
    space = spaces.Tuple([spaces.Discrete(3), inner])
    action = playable(space, {"0": np.int64(2), "1": {"go": np.int64(1), "turn": np.array([2.0, 0.5])}})
    assert space.contains(action)
    assert (action[0], action[1]["go"], action[1]["turn"].tolist()) == (2, 1, [1.0, 0.5])


def test_keys_that_are_no_strings_and_whole_numbers_from_real_ones():
    spaces = gymnasium.spaces
    space = spaces.Dict({1: spaces.Box(0, 5000, (2,), np.int32), 2: spaces.Discrete(3)})
    action = playable(space, {"1": np.array([4.6, 4999.9], np.float32), "2": np.int64(1)})
    assert space.contains(action) and (action[1].tolist(), action[2]) == ([5, 5000], 1)
    assert playable(space, space.sample()).keys() == {1, 2}


@pytest.mark.parametrize(
    ("environment", "always", "frames"),
    [
        ("HalfCheetah-v5", set(), {"mujoco"}),  # its observations are numbers
        ("Meta-World/MT1", set(), {"metaworld"}),
        ("recipes.environments.meta_world:MT50/reach-v3", set(), {"metaworld"}),
        ("LunarLander-v3", set(), set()),
        ("Nowhere-v0", set(), set()),
        ("no_such_module:Nowhere-v0", set(), set()),
    ],
)
def test_what_draws_by_opengl(environment, always, frames):
    assert opengl_simulators(environment, frames=False) == always
    assert opengl_simulators(environment, frames=True) == frames


@needs.DM_CONTROL
def test_what_dm_control_draws_by_opengl():
    """In a process of its own: one that has used TensorFlow and loads dm_control aborts when it ends."""
    variants = "recipes.environments.dm_control_variants:DMControlSmall/pendulum-swingup-v0"
    code = (
        "from gato_tokenize.environments.families import opengl_simulators as found\n"
        f"for name in 'dm_control/pendulum-swingup-v0', {variants!r}:\n"
        "    assert (found(name, frames=False), found(name, frames=True)) == (set(), {'shimmy'}), name"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
