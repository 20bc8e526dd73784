"""The fit of continuous values to their bins, counted and judged."""

import math
import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gato_tokenize import ContinuousSpec, DiscreteSpec, Episode, EpisodeSpec, EpisodeTokenizer, TextSpec
from gato_tokenize.modalities.continuous import ContinuousTokenizer
from pipelines.stats.episode_stats import as_json, episode_stats, merge_stats
from pipelines.stats.fit import LEAST_LEVELS, MOST_CLIPPED, Fit, advice, count_fit, fits, report

HALF_BIN = 1 / 1024  # of an action in [-1, 1]
SETTINGS = {"clipped": 0.0, "saturated": 0.0, "mean_error": 0.0, "max_error": 0.0}


def counted(values: np.ndarray, tokenizer: ContinuousTokenizer) -> dict:
    x = np.asarray(values, np.float32)
    return {"values": x.size, **as_json(count_fit(x, tokenizer.encode(x), tokenizer))}


def test_two_actions_by_hand() -> None:
    """Of 0, 0.5 and 1 the bin's centre is half a bin away; 2 is clipped."""
    found = counted([[0.0, 1.0], [0.5, 2.0]], ContinuousTokenizer(companded=False))
    assert found["bins"] == {"512": 1, "768": 1, "1023": 2}
    assert found["dimensions"] == {
        "min": [0.0, 1.0],
        "max": [0.5, 2.0],
        "clipped": [0, 1],
        "saturated": [0, 2],
        "error_sum": [2 * HALF_BIN, 1 + 2 * HALF_BIN],
        "error_max": [HALF_BIN, 1 + HALF_BIN],
    }
    one, two = fits(found)
    assert one == Fit(0.0, 0.5, 0.0, 0.0, HALF_BIN, HALF_BIN)
    assert two == Fit(1.0, 2.0, 0.5, 1.0, (1 + 2 * HALF_BIN) / 2, 1 + HALF_BIN)
    assert (one.bad, two.bad) == (False, True)


def test_levels_are_those_of_equal_bins() -> None:
    """The range cut into 100 bins: values spread evenly are a quarter of a bin from the centres, in the mean."""
    width = 2 / 100
    x = np.linspace(-1, 1, 100_001)[:-1]
    error = np.abs((np.floor((x + 1) / width) + 0.5) * width - 1 - x)
    assert Fit(-1.0, 1.0, **{**SETTINGS, "mean_error": float(error.mean())}).levels == pytest.approx(100, rel=1e-3)
    assert Fit(-1.0, 1.0, **SETTINGS).levels == math.inf


@pytest.mark.parametrize(
    ("change", "bad"),
    [
        ({"clipped": MOST_CLIPPED}, False),
        ({"clipped": MOST_CLIPPED * 1.01}, True),
        ({"mean_error": 2 / 4 / LEAST_LEVELS}, False),
        ({"mean_error": 2 / 4 / LEAST_LEVELS * 1.01}, True),
    ],
)
def test_the_limits(change: dict[str, float], bad: bool) -> None:
    assert Fit(-1.0, 1.0, **{**SETTINGS, **change}).bad is bad


def test_a_constant_needs_no_scaling_unless_it_is_clipped() -> None:
    still = Fit(1000.0, 1000.01, **{**SETTINGS, "mean_error": 9.0})
    assert still.constant and not still.bad and advice(still, False, 256) == advice(still, True, 256) == ""
    lost = Fit(1000.0, 1000.0, 1.0, 1.0, 744.0, 744.0)
    assert advice(lost, False, 256) == "subtract 1000"
    assert advice(lost, True, 256) == "give it the bounds low=0, high=2000"
    assert advice(Fit(5.0, 5.0, 1.0, 1.0, 4.0, 4.0), True, 256) == "give it the bounds low=0, high=10"


@pytest.mark.parametrize("steps", [1, 7])
def test_against_the_decoded_episode(steps: int) -> None:
    """Texts of any length between the fields, matrices, and bounds for each element."""
    generator = np.random.default_rng(steps)
    observation = {"a": ContinuousSpec((2, 3)), "b": TextSpec(), "c": ContinuousSpec(), "d": DiscreteSpec(4)}
    action = {"x": ContinuousSpec(2, low=(0.0, -5.0), high=(10.0, 5.0)), "y": DiscreteSpec(3), "z": ContinuousSpec()}
    spec = EpisodeSpec(observation, action)
    values = {"a": generator.normal(0, 99, (steps, 2, 3)), "c": generator.normal(0, 0.01, steps)}
    values |= {"b": ["go " * n for n in range(steps)], "d": generator.integers(0, 4, steps)}
    acted = {
        "x": generator.normal(5, 5, (steps, 2)),
        "y": generator.integers(0, 3, steps),
        "z": generator.normal(0, 1, steps),
    }
    episode, tokenizer = Episode(spec, values, acted), EpisodeTokenizer(spec)
    sequence = tokenizer.encode(episode)
    fields, decoded = episode_stats(episode, tokenizer, sequence)["fields"], tokenizer.decode(sequence)
    for path in ("observation/a", "observation/c", "action/x", "action/z"):
        x = np.asarray(episode.fields[path], np.float32).reshape(steps, -1)
        error = np.abs(decoded.fields[path].reshape(steps, -1).astype(float) - x)
        columns = fields[path]["dimensions"]
        assert np.allclose(columns["error_sum"], error.sum(axis=0), rtol=1e-5)
        assert np.allclose(columns["error_max"], error.max(axis=0), rtol=1e-5)
        assert np.array_equal(columns["min"], x.min(axis=0)) and np.array_equal(columns["max"], x.max(axis=0))
        assert columns["clipped"].sum() == fields[path]["clipped"] == tokenizer.clipped(episode)[path]
        assert fields[path]["bins"].sum() == fields[path]["values"] == x.size
        assert (columns["saturated"] >= columns["clipped"]).all()


# ---------------------------------------------------------------------------------------------------- the scaling

SIZES = st.floats(-7, 7)


def spread(middle: float, half: float) -> np.ndarray:
    return np.linspace(middle - half, middle + half, 999).astype(np.float32)[:, None]


@given(SIZES, SIZES, st.sampled_from([-1, 0, 1]))
def test_an_observation_that_is_scaled_as_proposed_fits(place: float, size: float, sign: int) -> None:
    x = spread(sign * 10**place, 10**size)
    (fit,) = fits(counted(x, ContinuousTokenizer(companded=True)))
    found = re.fullmatch(r"(?:subtract (\S+?))?(?:, )?(?:divide by (\S+))?", advice(fit, False, 256))
    assert found and bool(found[0]) == fit.bad
    if not fit.constant:
        y = (x.astype(float) - float(found[1] or 0)) / float(found[2] or 1)
        (better,) = fits(counted(y, ContinuousTokenizer(companded=True)))
        assert not better.bad


@given(SIZES, SIZES, st.sampled_from([-1, 0, 1]))
@example(0.0, 1e-9, -1)  # a range that ends just above 0
def test_an_action_with_the_bounds_proposed_fits(place: float, size: float, sign: int) -> None:
    x = spread(sign * 10**place, 10**size)
    (fit,) = fits(counted(x, ContinuousTokenizer(companded=False)))
    found = re.fullmatch(r"give it the bounds low=(\S+), high=(\S+)|", advice(fit, True, 256))
    assert found and bool(found[0]) == fit.bad
    if fit.bad:
        bounds = (float(found[1]), float(found[2]))
        (better,) = fits(counted(x, ContinuousTokenizer(companded=False, low=bounds[0], high=bounds[1])))
        assert not better.bad and better.clipped == 0


# ------------------------------------------------------------------------------------------------------ the report


def test_lines_of_a_matrix_and_of_a_scalar() -> None:
    spec = ContinuousSpec((2, 2))
    x = np.zeros((2000, 2, 2))
    x[:, 0, 1], x[:, 1, 0] = np.linspace(-1, 1, 2000), np.linspace(50, 50.1, 2000)
    rows = report(spec, False, counted(x, ContinuousTokenizer(companded=True)), 256)
    assert [row.element for row in rows] == ["all", "0, 0", "0, 1", "1, 0", "1, 1"]
    assert [row.scaling for row in rows] == ["1 of 4 elements need one", "", "", "subtract 50.05, divide by 0.05", ""]
    assert rows[1].levels is rows[4].levels is None and rows[0].levels == rows[3].levels < 1 < 150 < rows[2].levels
    assert (rows[0].fit.low, rows[0].fit.high) == (-1.0, pytest.approx(50.1))
    assert rows[0].fit.mean_error == pytest.approx(sum(row.fit.mean_error for row in rows[1:]) / 4)
    assert rows[1].words()[:4] == ["0, 0", "0 to 0", "0.00%", "0.00%"] and rows[1].words()[5] == "constant"
    (alone,) = report(ContinuousSpec(), True, counted([0.5, 0.25], ContinuousTokenizer(companded=False)), 256)
    assert alone.element == "" and alone.words()[1] == "0.25 to 0.5"


def test_merged_counts_are_those_of_all_values() -> None:
    x = np.random.default_rng(0).normal(0, 200, (50, 3)).astype(np.float32)
    tokenizer = ContinuousTokenizer(companded=True)
    parts = [counted(x[i : i + 10], tokenizer) for i in range(0, 50, 10)]
    total: dict = {}
    for part in parts:
        merge_stats(total, part)
    whole = counted(x, tokenizer)
    sums = (total["dimensions"].pop("error_sum"), whole["dimensions"].pop("error_sum"))
    assert total == whole and np.allclose(*sums)
