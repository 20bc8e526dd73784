"""Agents of one's own, episodes that stop at success, noise, and episodes that are left out."""

import hashlib
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gato_tokenize import Episode
from gato_tokenize.environments.recipe import Recipe
from pipelines.sources import open_source
from pipelines.sources.errors import Filtered, SourceError
from pipelines.sources.reading import Reject, read_partition

ROOT = Path(__file__).parents[4]
AGENT = """
def alternating(environment):
    state = [0]
    def act(observation):
        state[0] += 1
        return state[0] % 2
    return act

def still(environment):
    return lambda observation: [0.0]

def writing(environment):
    act = alternating(environment)
    def write_and_act(observation):
        observation += 1
        return act(observation)
    return write_and_act

def leaning(environment):
    return lambda observation: int(observation[2] > 0)

def left(environment):
    return lambda observation: [-1.0]

def downhill(environment):
    return lambda observation: [float(observation[1] > 0) - float(observation[1] < 0)]

def failing(environment):
    def act(observation):
        raise KeyError("lost")
    return act

number = 3
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_agent.py").write_text(AGENT)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("my_agent", None)
    open_source.cache_clear()
    return tmp_path


def played(source: str) -> list[Any]:
    opened = open_source(source)
    return [result for partition in opened.partitions() for _, result in read_partition(opened, partition)]


def test_a_policy_keeps_state_within_an_episode_and_is_made_anew_for_the_next(here: Path) -> None:
    for episode in played("rollouts:CartPole-v1?policy=my_agent:alternating&episodes=3"):
        assert isinstance(episode, Episode), episode
        assert episode.actions.tolist() == [(number + 1) % 2 for number in range(episode.num_steps)]
        assert episode.metadata.agent_id == "my_agent:alternating"
        assert episode.metadata.episode_id.endswith("/my_agent:alternating")


def test_a_policy_that_fails_costs_its_episode_and_is_named(here: Path) -> None:
    rejects = played("rollouts:CartPole-v1?policy=my_agent:failing&episodes=2")
    assert [type(reject) for reject in rejects] == [Reject, Reject]
    assert rejects[0].message == "policy my_agent:failing: KeyError: 'lost'"


def test_a_changed_policy_is_another_plan(here: Path) -> None:
    """Each plan is made by a process of its own, as by a command that is given again."""
    program = "from pipelines.sources import open_source; import json; print(json.dumps(open_source(%r).inputs()))"
    words = [sys.executable, "-c", program % "rollouts:CartPole-v1?policy=my_agent:alternating"]
    inputs = []
    for text in (AGENT, AGENT, AGENT + "# changed"):
        (here / "my_agent.py").write_text(text)
        path = {"PYTHONPATH": f"{here}:{ROOT}"}
        inputs.append(json.loads(subprocess.run(words, check=True, capture_output=True, env=path).stdout))
    assert inputs[0] == inputs[1] != inputs[2]


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("no_such_module:agent", "there is no module 'no_such_module'; start the command in the folder"),
        ("my_agent:nobody", "nobody is not in the module my_agent"),
        ("my_agent:number", "number is not a function"),
        (":agent", "must be expert, random, or MODULE:FUNCTION"),
        ("my_agent:", "must be expert, random, or MODULE:FUNCTION"),
    ],
)
def test_a_policy_that_is_not_there_is_refused_by_name(here: Path, policy: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(f"rollouts:CartPole-v1?policy={policy}").specs()


def test_an_episode_stops_at_the_first_step_that_reports_success() -> None:
    base = "rollouts:Meta-World/MT1?env_name=reach-v3&episodes=1&max_steps=150"
    (whole,), (cut,) = played(base), played(f"{base}&stop=success")
    assert cut.num_steps < whole.num_steps == 150
    np.testing.assert_array_equal(cut.actions, whole.actions[: cut.num_steps])
    assert (cut.metadata.success, cut.metadata.terminated, cut.metadata.truncated) == (1, True, False)
    assert (whole.metadata.success, whole.metadata.terminated, whole.metadata.truncated) == (1, False, True)


def test_noise_changes_what_is_played_and_records_what_the_policy_chose(here: Path) -> None:
    quiet = played("rollouts:CartPole-v1?policy=my_agent:alternating&episodes=3")
    noisy = played("rollouts:CartPole-v1?policy=my_agent:alternating&episodes=3&noise=0.5")
    for one, other in zip(quiet, noisy, strict=True):
        assert other.actions.tolist() == [(number + 1) % 2 for number in range(other.num_steps)]
        shared = min(one.num_steps, other.num_steps)
        assert not np.array_equal(one.observations[:shared], other.observations[:shared])
        assert other.metadata.episode_id == f"{one.metadata.episode_id}/noise=0.5"
    again = played("rollouts:CartPole-v1?policy=my_agent:alternating&episodes=3&noise=0.5")
    for one, other in zip(noisy, again, strict=True):
        np.testing.assert_array_equal(one.observations, other.observations)


def test_a_random_action_is_played_for_some_steps(here: Path) -> None:
    """The car's speed tells the push of each step, once the slope's part is taken away."""
    base = "rollouts:MountainCarContinuous-v0?policy=my_agent:still&episodes=2&max_steps=300&noise=0.1"
    for noise, (low, high) in {"": (1.0, 1.2), "&noise_steps=40": (10, 40)}.items():
        for episode in played(f"{base}{noise}"):
            assert not episode.actions.any()
            pushes = episode.observations[1:, 1] - episode.observations[:-1, 1]
            pushes += 0.0025 * np.cos(3 * episode.observations[:-1, 0])  # the slope's part of each step
            held = [len(list(group)) for push, group in itertools.groupby(np.round(pushes, 5)) if abs(push) > 1e-5]
            assert low <= np.mean(held) <= high
            assert episode.metadata.episode_id.endswith(f"/noise=0.1{noise.replace('&', '/')}")


@pytest.mark.parametrize(
    ("options", "message"), [("noise_steps=0&noise=0.1", "at least 1"), ("noise_steps=5", "noise is 0")]
)
def test_noise_that_cannot_be(options: str, message: str) -> None:
    with pytest.raises(SourceError, match=f"noise_steps.*{message}"):
        open_source(f"rollouts:CartPole-v1?{options}")


def test_what_a_policy_writes_in_its_observation_is_not_recorded(here: Path) -> None:
    base = "rollouts:CartPole-v1?episodes=2&learner=my_agent:alternating&policy=my_agent:"
    for clean, written in zip(played(base + "alternating"), played(base + "writing"), strict=True):
        np.testing.assert_array_equal(clean.observations, written.observations)
        np.testing.assert_array_equal(clean.actions, written.actions)


@pytest.mark.parametrize("task", ["door-close-v3", "door-open-v3"])
def test_observations_in_which_meta_worlds_policies_write_are_recorded_as_they_were(task: str) -> None:
    """These two move the place of the door in the observation that they are given."""
    source = f"rollouts:Meta-World/MT1?env_name={task}&episodes=1&max_steps=5"
    (episode,) = played(source)
    environment, observation = Recipe("Meta-World/MT1", json.dumps({"env_name": task})).start(0)
    for action, recorded in zip(episode.actions, episode.observations, strict=True):
        np.testing.assert_array_equal(recorded, observation.astype(recorded.dtype))
        observation = environment.step(action)[0]
    environment.close()


def test_a_learner_sees_what_the_policy_has_not_written_in(here: Path) -> None:
    base = "rollouts:CartPole-v1?episodes=1&learner=my_agent:leaning&policy=my_agent:"
    (clean,), (written,) = played(base + "alternating"), played(base + "writing")
    np.testing.assert_array_equal(clean.observations, written.observations)


def test_a_learner_plays_while_the_policy_is_recorded(here: Path) -> None:
    """The learner pushes the car to the left all the time; recorded is what the policy would do at each step."""
    base = "rollouts:MountainCarContinuous-v0?policy=my_agent:downhill&episodes=2&max_steps=60"
    for alone, led in zip(played(base), played(f"{base}&learner=my_agent:left"), strict=True):
        speeds = led.observations[:, 1]
        np.testing.assert_array_equal(led.actions[:, 0], np.sign(speeds))
        slope = 0.0025 * np.cos(3 * led.observations[:-1, 0])
        pushes = led.observations[1:, 1] - led.observations[:-1, 1] + slope
        at_the_wall = led.observations[1:, 0] <= -1.2
        np.testing.assert_allclose(pushes[~at_the_wall], -0.0015, atol=1e-5)
        assert not np.array_equal(alone.observations, led.observations)
        assert led.metadata.episode_id == f"{alone.metadata.episode_id}/learner=my_agent:left"
        assert led.metadata.agent_id == alone.metadata.agent_id == "my_agent:downhill"


def test_a_learner_is_disturbed_by_noise_as_a_policy_is(here: Path) -> None:
    base = "rollouts:MountainCarContinuous-v0?policy=my_agent:downhill&learner=my_agent:left&episodes=1&max_steps=60"
    (quiet,), (noisy,) = played(base), played(f"{base}&noise=0.5")
    assert not np.array_equal(quiet.observations, noisy.observations)
    np.testing.assert_array_equal(noisy.actions[:, 0], np.sign(noisy.observations[:, 1]))


def test_a_learner_that_fails_costs_its_episode_and_is_named(here: Path) -> None:
    (reject,) = played("rollouts:CartPole-v1?policy=my_agent:alternating&learner=my_agent:failing&episodes=1")
    assert isinstance(reject, Reject)
    assert reject.message == "learner my_agent:failing: KeyError: 'lost'"


def test_a_changed_learner_is_another_plan(here: Path) -> None:
    """The hash of its module is in the plan, as that of a policy is."""
    source = open_source("rollouts:CartPole-v1?policy=random&learner=my_agent:alternating")
    sha256 = hashlib.sha256((here / "my_agent.py").read_bytes()).hexdigest()
    assert source.inputs()[0]["versions"]["my_agent:alternating"] == f"sha256 {sha256}"


@pytest.mark.parametrize(
    ("learner", "message"),
    [
        ("no_such_module:agent", "learner=no_such_module:agent: there is no module 'no_such_module'"),
        ("my_agent:nobody", "learner=my_agent:nobody: nobody is not in the module my_agent"),
        ("expert", "learner.*must be MODULE:FUNCTION"),
    ],
)
def test_a_learner_that_is_not_there_is_refused_before_anything_is_played(
    here: Path, learner: str, message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(f"rollouts:CartPole-v1?policy=random&learner={learner}").specs()


def test_episodes_below_a_return_are_left_out_and_counted(here: Path) -> None:
    everything = played("rollouts:CartPole-v1?policy=random&episodes=8")
    bound = float(np.median([episode.metadata.return_ for episode in everything]))
    kept = played(f"rollouts:CartPole-v1?policy=random&episodes=8&min_return={bound}")
    for one, other in zip(everything, kept, strict=True):
        if one.metadata.return_ >= bound:
            assert one.metadata.episode_id == other.metadata.episode_id
        else:
            assert isinstance(other, Filtered) and str(other) == f"a return below min_return={bound:g}"
    assert {type(one) for one in kept} == {Episode, Filtered}


def test_episodes_that_are_not_solved_are_left_out_and_counted() -> None:
    everything = played("rollouts:BabyAI-GoToObj-v0?policy=random&episodes=8")
    kept = played("rollouts:BabyAI-GoToObj-v0?policy=random&episodes=8&keep=success")
    expected = [Episode if episode.metadata.success == 1 else Filtered for episode in everything]
    assert [type(one) for one in kept] == expected and set(expected) == {Episode, Filtered}


def test_success_is_not_asked_of_an_environment_that_does_not_report_it() -> None:
    with pytest.raises(SourceError, match="CartPole-v1 does not report success; use min_return="):
        open_source("rollouts:CartPole-v1?policy=random&keep=success").specs()
