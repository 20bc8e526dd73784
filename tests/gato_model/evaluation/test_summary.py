"""Summary: what holds over several tasks, by hand; tasks without a score."""

import io

import numpy as np
import pytest
from rich.console import Console

from gato_model.evaluation.comparison import Comparison
from gato_model.evaluation.evaluate import Evaluation
from gato_model.evaluation.summary import Summary


def played(returns):
    count = len(returns)
    unknown, steps = np.full(count, -1, np.int8), np.ones(count, np.int64)
    return Evaluation(np.arange(count), np.array(returns, np.float64), unknown, steps, np.array([0.01]), 1)


def comparison(task, returns, random=0.0, expert=10.0):
    return Comparison(task, played(returns), played([random] * len(returns)), expert, None)


THREE = Summary((comparison("a", [0, 10]), comparison("b", [6, 6]), comparison("[c]", [1, 3], expert=None)))


def shown(summary, **options):
    console = Console(file=io.StringIO(), width=200)
    summary.print(console, **options)
    return console.file.getvalue()


def test_scores_by_hand():
    """Scores of a: 0 and 1, of b: 0.6 twice. The middle half of the four are the two of b."""
    assert {task: scores.tolist() for task, scores in THREE.scores.items()} == {"a": [0, 1], "b": [0.6, 0.6]}
    assert THREE.intervals["interquartile_mean"].mean == pytest.approx(0.6)
    assert THREE.intervals["mean"].mean == pytest.approx(0.55)
    assert THREE.above_half == 1  # half of the expert is not above it


def test_what_is_written_and_shown():
    written = THREE.to_json()
    assert [task["normalised_score"] for task in written["tasks"]] == [0.5, pytest.approx(0.6), None]
    over = written["over_tasks"]
    assert (over["scored"], over["above_half_of_expert"], over["mean"]["confidence"]) == (2, 1, 0.95)
    assert over["mean"]["low"] == pytest.approx(0.3)
    assert over["mean"]["high"] == pytest.approx(0.8)
    text = shown(THREE)
    assert "over 2 tasks (1 without a score are left out)" in text
    assert all(words in text for words in ("1 of 2", "0.55 [0.3, 0.8]"))
    assert "[c], 2 episodes" in text


def test_one_task_has_nothing_over_tasks():
    one = Summary(THREE.comparisons[:1])
    assert one.to_json()["over_tasks"] is None
    assert "over 1" not in shown(one)


def test_no_scores_at_all():
    none = Summary(THREE.comparisons[2:] * 2)
    assert none.to_json()["over_tasks"] == {"scored": 0, "above_half_of_expert": 0}
    assert "no task has a normalised score: give --data or --expert-return" in shown(none)
