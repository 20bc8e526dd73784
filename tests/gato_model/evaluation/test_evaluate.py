"""evaluate: what is counted, by hand; every seed once, whatever the number of rows; environments closed."""

import dataclasses

import gymnasium
import numpy as np
import pytest
from toy_acting import COPYING, Copying, copied

from gato_model.evaluation.baselines import RandomPolicy
from gato_model.evaluation.evaluate import check_opengl, evaluate, filmed
from gato_tokenize.environments.recipe import Recipe
from gato_tokenize.roles import Roles

RECIPE = Recipe(COPYING)


@dataclasses.dataclass
class Knowing:
    """Copies; from the second action of a row's episode on it does so only where the row's seed is even."""

    rows: int

    def __post_init__(self):
        self.seeds, self.acted, self.calls = {}, {}, []

    def reset(self, rows, seeds):
        for row, seed in zip(rows, seeds, strict=True):
            self.seeds[row], self.acted[row] = seed, 0

    def act_many(self, observations, rows):
        self.calls.append(list(rows))
        assert sorted(set(rows)) == list(rows)
        actions = []
        for row, digit in zip(rows, observations, strict=True):
            knows = self.seeds[row] % 2 == 0 or self.acted[row] == 0
            actions.append(np.array(copied(digit) if knows else ((digit + 1) % 5, 0)))
            self.acted[row] += 1
        return actions


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 9])
def test_five_episodes_by_hand(rows):
    policy = Knowing(rows)
    played = evaluate(policy, RECIPE, [4, 5, 6, 7, 8])
    assert played.returns.tolist() == [8, 1, 8, 1, 8]
    assert played.seeds.tolist() == [4, 5, 6, 7, 8]
    assert played.lengths.tolist() == [8] * 5
    assert played.successes.tolist() == [-1] * 5
    assert played.success_interval() is None
    assert played.return_interval().mean == 5.2
    assert played.rows == min(rows, 5)
    assert sum(map(len, policy.calls)) == 40
    assert len(played.latencies) == len(policy.calls) - 1


def test_a_policy_sees_what_the_dataset_recorded():
    seen = []

    class Watching(RandomPolicy):
        def act_many(self, observations, rows):
            seen.extend(observations)
            return super().act_many(observations, rows)

    recipe = Recipe("faulty_environments:Faulty/Stacked-v0", roles=Roles({"observation/eye": "frames"}))
    evaluate(Watching(recipe.make(0).action_space), recipe, [0])
    assert [[one["eye"][str(i)][0, 0] for i in range(4)] for one in seen] == [[10, 11, 12, 13], [20, 21, 22, 23]]
    assert seen[0]["w/pos"].tolist() == [1.0]


def test_the_batch_stays_full():
    policy = Knowing(2)
    evaluate(policy, RECIPE, range(4))
    assert [len(rows) for rows in policy.calls] == [2] * 16


def test_episodes_are_cut_and_counted():
    numbers = []
    played = evaluate(Knowing(2), RECIPE, [0, 2, 4], max_steps=3, finished=numbers.append)
    assert played.lengths.tolist() == [3, 3, 3]
    assert played.returns.tolist() == [3, 3, 3]
    assert numbers == [1, 2, 3]


class Solved(gymnasium.Env):
    """Reports success at its third step and goes on to its sixth."""

    observation_space = gymnasium.spaces.Discrete(7)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.time = 0
        return 0, {}

    def step(self, action):
        self.time += 1
        return self.time, 1.0, False, self.time == 6, {"success": self.time == 3}


@pytest.fixture
def solved():
    """The recipe of an environment that is registered while the test runs."""
    gymnasium.register("Meta-World/Solved-v0", lambda seed: Solved())
    yield Recipe("Meta-World/Solved-v0")
    del gymnasium.registry["Meta-World/Solved-v0"]


def test_episodes_may_stop_at_success(solved):
    policy = RandomPolicy(gymnasium.spaces.Discrete(2))
    whole, cut = (evaluate(policy, solved, [0, 1], stop_at_success=stop) for stop in (False, True))
    assert (whole.lengths.tolist(), cut.lengths.tolist()) == ([6, 6], [3, 3])
    assert whole.successes.tolist() == cut.successes.tolist() == [1, 1]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Box2D, when it is first imported
def test_success_is_the_familys():
    recipe = Recipe("LunarLander-v3")
    played = evaluate(RandomPolicy(gymnasium.spaces.Discrete(4), 2), recipe, [0, 1], max_steps=5)
    assert played.successes.tolist() == [0, 0]
    assert played.success_interval().mean == 0


def test_the_first_episodes_frames():
    frames = []
    played = evaluate(Knowing(2), RECIPE, [3, 4], frames=frames)
    assert len(frames) == played.lengths[0] + 1
    assert {frame.shape for frame in frames} == {(20, 30, 3)}
    environment, digit = RECIPE.start(3)
    assert (frames[0] == 50 * digit).all()  # of the episode of the first seed
    environment.close()
    assert filmed(RECIPE).task == "Copying-v0/render_mode=rgb_array"  # made so, but its spec is the task's


def test_the_random_policy_depends_on_the_seed_alone():
    def returns(rows, seeds):
        return evaluate(RandomPolicy(gymnasium.spaces.MultiDiscrete([5, 3]), rows), RECIPE, seeds).returns.tolist()

    one = returns(1, range(30))
    assert one == returns(7, range(30))
    assert returns(3, [5, 2]) == [one[5], one[2]]
    assert 0 < sum(one) < 60  # 16 right of 240 is what chance gives


def test_no_seeds():
    with pytest.raises(ValueError, match="no seeds"):
        evaluate(Knowing(1), RECIPE, [])


@pytest.mark.parametrize(("answer", "error"), [(None, RuntimeError), ([None] * 3, TypeError)])
def test_environments_are_closed_when_policy_or_environment_fails(monkeypatch, answer, error):
    closed = []
    monkeypatch.setattr(Copying, "close", lambda environment: closed.append(environment))

    class Failing(Knowing):
        def act_many(self, observations, rows):
            if answer is None:
                raise RuntimeError("no idea")
            return answer

    with pytest.raises(error):
        evaluate(Failing(3), RECIPE, range(5))
    assert len(closed) == 3


def test_what_draws_by_opengl_is_refused_beside_tensorflow():
    import tensorflow  # noqa: F401 - its presence is what matters

    with pytest.raises(ValueError, match="HalfCheetah-v5 draws its pictures by OpenGL .mujoco., .* without a video"):
        evaluate(Knowing(1), Recipe("HalfCheetah-v5"), [0], frames=[])
    check_opengl(Recipe("HalfCheetah-v5"), film=False)  # its observations are numbers
    check_opengl(Recipe("LunarLander-v3"), film=True)
