import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gato_model.evaluation.scores import Interval, interquartile_mean, mean_interval, mean_of_tasks, normalised


def test_a_normalised_score_by_hand():
    assert normalised(20.0, random=20.0, expert=100.0) == 0.0
    assert normalised(100.0, random=20.0, expert=100.0) == 1.0
    assert normalised(-20.0, random=20.0, expert=100.0) == -0.5
    assert normalised(-60.0, random=-100.0, expert=-20.0) == 0.5


@pytest.mark.parametrize(("random", "expert"), [(1.0, 1.0), (2.0, 1.0), (0.0, float("nan")), (0.0, float("inf"))])
def test_an_expert_who_is_no_better_gives_no_score(random, expert):
    with pytest.raises(ValueError, match="no score"):
        normalised(1.0, random, expert)


def test_one_episode_has_no_interval():
    assert mean_interval([3.0]) == Interval(3.0, None, None, 0.95)


def test_the_interval_of_many_is_the_normal_one():
    """An oracle: for the mean of many values the bootstrap agrees with mean +- 1.96 standard errors."""
    values = np.random.default_rng(0).normal(5.0, 2.0, 400)
    found, error = mean_interval(values), values.std() / 20
    assert found.mean == values.mean()
    assert abs(found.low - (values.mean() - 1.96 * error)) < 0.1 * error
    assert abs(found.high - (values.mean() + 1.96 * error)) < 0.1 * error
    narrow = mean_interval(values, confidence=0.5)
    assert found.low < narrow.low < narrow.mean < narrow.high < found.high


def test_the_interval_covers_as_often_as_it_says():
    generator = np.random.default_rng(1)
    inside = 0
    for _ in range(60):
        found = mean_interval(generator.random(50) < 0.3)
        inside += found.low <= 0.3 <= found.high
    assert 52 <= inside <= 60


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=30))
def test_the_mean_lies_inside(values):
    found = mean_interval(values)
    assert found == mean_interval(values)
    assert min(values) <= found.low <= found.high <= max(values)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [[1.0]], [float("inf")]])
def test_what_has_no_mean_is_refused(values):
    with pytest.raises(ValueError, match="at least one finite value"):
        mean_interval(values)


def test_a_confidence_is_refused():
    with pytest.raises(ValueError, match="confidence must be between 0 and 1, not 95"):
        mean_interval([1.0, 2.0], confidence=95)


def test_scores_over_tasks_are_rliables():
    """The numbers are those of rliable 1.2.0 (arch 7.2.0, pandas 2.3.3, numpy 2.4.6), printed by:

    scores = np.random.default_rng(0).gamma(2.0, 0.4, (10, 6)).round(3)  # runs, tasks
    f = lambda x: np.array([metrics.aggregate_iqm(x), metrics.aggregate_mean(x)])
    library.get_interval_estimates({"gato": scores}, f, reps=50000, random_state=np.random.RandomState(0))

    It draws other resamples, so its bounds differ by the noise of 10,000 of them.
    """
    tasks = np.random.default_rng(0).gamma(2.0, 0.4, (10, 6)).round(3).T
    for found, point, low, high in (
        (interquartile_mean(tasks), 0.67056667, 0.5492325, 0.812),
        (mean_of_tasks(tasks), 0.76703333, 0.64966667, 0.8899),
    ):
        assert found.mean == pytest.approx(point, abs=1e-8)
        assert found.low == pytest.approx(low, abs=0.01)
        assert found.high == pytest.approx(high, abs=0.01)


def test_each_task_is_drawn_from_itself():
    """Both tasks' scores are constant, so no resample differs; drawn together, they would."""
    found = mean_of_tasks([[0.0] * 5, [1.0] * 5])
    assert (found.low, found.mean, found.high) == (0.5, 0.5, 0.5)
    assert interquartile_mean([[0.0] * 5, [1.0] * 5]).mean == 0.5


def test_a_task_of_one_episode_gives_no_interval():
    assert interquartile_mean([[1.0], [0.0, 1.0]]) == Interval(pytest.approx(2 / 3), None, None, 0.95)


@pytest.mark.parametrize("scores", [[], [[]], [[1.0], []], [[float("nan")]], [[[1.0]]]])
def test_tasks_without_scores_are_refused(scores):
    with pytest.raises(ValueError, match="at least one finite score"):
        interquartile_mean(scores)
