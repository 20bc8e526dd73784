"""Lints are counted, merged, and reported with their meaning."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gato_tokenize import (
    ContinuousSpec,
    DiscreteSpec,
    Episode,
    EpisodeMetadata,
    EpisodeSpec,
    EpisodeTokenizer,
    ImageSpec,
)
from gato_tokenize.episode import FINAL_OBSERVATION
from pipelines.__main__ import main
from pipelines.sources import open_source
from pipelines.stats.episode_stats import as_json, episode_stats, merge_stats
from pipelines.stats.lints import LINTS, complete, listed, repeats

ROOT = Path(__file__).parents[3]
JOINT = EpisodeSpec({"joint": ContinuousSpec(2)}, ContinuousSpec(2))


def stats_of(episode: Episode) -> dict[str, Any]:
    tokenizer = EpisodeTokenizer(episode.spec)
    return dict(as_json(episode_stats(episode, tokenizer, tokenizer.encode(episode))))


def acted(action: Any, spec: EpisodeSpec = JOINT, **notes: int) -> dict[str, Any]:
    """Statistics of an ended episode with these actions, and observations that fit well."""
    steps = len(next(iter(action.values())) if isinstance(action, dict) else action)
    joint = np.linspace(-1, 1, 2 * steps).reshape(steps, 2)
    return stats_of(Episode(spec, {"joint": joint}, action, EpisodeMetadata(terminated=True), notes))


# --------------------------------------------------------------------------------------------------- frames


def frames(*values: int, size: tuple[int, int] = (1, 2)) -> tuple[np.ndarray, np.ndarray]:
    """Patches and grids of pictures of rows x columns patches, each of one value."""
    count = size[0] * size[1]
    patches = np.repeat(np.array(values, np.uint8), count)[:, None, None, None]
    return np.broadcast_to(patches, (len(values) * count, 16, 16, 3)).copy(), np.array([size] * len(values), np.int32)


@pytest.mark.parametrize(
    ("values", "repeated", "run"),
    [([7], 0, 1), ([7, 7], 1, 2), ([7, 8, 7], 0, 1), ([1, 1, 2, 2, 2, 3, 3], 4, 3), ([0] * 9, 8, 9)],
)
def test_repeated_frames_by_hand(values: list[int], repeated: int, run: int) -> None:
    assert repeats(*frames(*values), 1) == [(repeated, run)]


def test_one_pixel_makes_another_frame() -> None:
    patches, grids = frames(5, 5, 5)
    patches[3, 15, 15, 2] = 6  # the last of the second frame
    assert repeats(patches, grids, 1) == [(0, 1)]


def test_cameras_take_turns() -> None:
    """Two cameras: the one still, the other moving."""
    one, two = frames(1, 1, 1), frames(7, 8, 8, size=(1, 1))
    patches = np.concatenate([part for i in range(3) for part in (one[0][2 * i : 2 * i + 2], two[0][i : i + 1])])
    grids = np.stack([one[1], two[1]], axis=1).reshape(-1, 2)
    assert repeats(patches, grids, 2) == [(2, 3), (1, 2)]


def test_the_same_pixels_in_another_shape_are_another_frame() -> None:
    patches, _ = frames(5, 5)
    assert repeats(patches, np.array([[1, 2], [2, 1]], np.int32), 1) == [(0, 1)]


@given(st.lists(st.lists(st.integers(0, 1), min_size=2, max_size=2), min_size=1, max_size=9))
def test_repeated_frames_against_a_loop(rows: list[list[int]]) -> None:
    """Two fields, whatever is drawn; one field alone takes the fast way."""
    for fields in (1, 2):
        patches, grids = frames(*(value for row in rows for value in row[:fields]))
        expected = []
        for field in range(fields):
            column = [row[field] for row in rows]
            runs = re.findall(r"(0+|1+)", "".join(map(str, column)))
            expected.append((sum(a == b for a, b in zip(column, column[1:], strict=False)), max(map(len, runs))))
        assert repeats(patches, grids, fields) == expected


# ---------------------------------------------------------------------------------------- ends of an episode

FILLED = "episodes whose last action alone is all zeros"


@pytest.mark.parametrize(
    ("action", "lint"),
    [
        ([[1, 0], [0, 1], [0, 0]], True),
        ([[1, 0], [0, 1], [0, 0.1]], False),
        ([[1, 0], [0, 0], [0, 0]], False),  # stood still before, too
        ([[0, 0]], False),
    ],
)
def test_a_last_action_of_zeros(action: list[list[float]], lint: bool) -> None:
    assert (FILLED in acted(action)["lints"]) is lint


def test_discrete_actions_may_be_zero_and_all_continuous_ones_must() -> None:
    spec = EpisodeSpec(
        {"joint": ContinuousSpec(2)}, {"arm": ContinuousSpec(1), "hand": ContinuousSpec(), "key": DiscreteSpec(3)}
    )
    arm, key = [[1.0], [0.0], [0.0]], [1, 1, 1]
    assert FILLED in acted({"arm": arm, "hand": [0.0, 1.0, 0.0], "key": key}, spec)["lints"]
    assert FILLED not in acted({"arm": arm, "hand": [0.0, 1.0, 1.0], "key": key}, spec)["lints"]
    only = EpisodeSpec({"joint": ContinuousSpec(2)}, DiscreteSpec(3))
    assert FILLED not in acted([1, 2, 0], only)["lints"]


SHORT = "episodes of T observations among others of T + 1"


def test_episodes_that_disagree_about_their_last_observation() -> None:
    """The source notes that it left the last observation out; an episode without the note lacks one."""
    with_it, without = acted([[1, 0]], **{FINAL_OBSERVATION: 1}), acted([[1, 0]])
    assert SHORT not in complete(merge_stats(acted([[1, 0]]), without))["lints"]
    total = merge_stats(merge_stats(with_it, acted([[1, 0]], **{FINAL_OBSERVATION: 1})), without)
    assert complete(total)["lints"][SHORT] == 1


# ------------------------------------------------------------------------------------------- unfit dimensions

UNFIT_ACTION, UNFIT = "action dimensions that look un-normalised", "observation dimensions that fit their bins badly"


def test_actions_that_use_little_of_their_bounds_or_leave_them() -> None:
    small = np.linspace(-0.001, 0.001, 99)
    fine = np.linspace(-0.5, 0.5, 99)
    wide = np.linspace(-30, 30, 99)
    assert UNFIT_ACTION not in complete(acted(np.stack([fine, fine], axis=1)))["lints"]
    assert complete(acted(np.stack([fine, small], axis=1)))["lints"][UNFIT_ACTION] == 1
    assert complete(acted(np.stack([wide, small], axis=1)))["lints"][UNFIT_ACTION] == 2
    assert UNFIT_ACTION not in complete(acted(np.zeros((99, 2))))["lints"]  # a constant has no scale
    bounded = EpisodeSpec({"joint": ContinuousSpec(2)}, ContinuousSpec(2, low=-30.0, high=30.0))
    assert UNFIT_ACTION not in complete(acted(np.stack([wide, wide], axis=1), bounded))["lints"]


def test_observations_of_an_odd_scale() -> None:
    joint = np.stack([np.linspace(1000, 1003, 99), np.linspace(-1, 1, 99)], axis=1)
    episode = Episode(JOINT, {"joint": joint}, np.ones((99, 2)), EpisodeMetadata(truncated=True))
    assert complete(stats_of(episode))["lints"] == {UNFIT: 1, "values beyond the bins' reach": 99}


def test_what_was_completed_may_be_merged_and_completed_again() -> None:
    one = acted(np.stack([np.linspace(-30, 30, 99)] * 2, axis=1), **{FINAL_OBSERVATION: 1})
    twice = complete(merge_stats(complete(one), acted([[1, 0]])))
    assert twice == complete(twice)
    assert (twice["lints"][UNFIT_ACTION], twice["lints"][SHORT]) == (2, 1)
    gone = complete({**twice, "fields": {}, "notes": {}})["lints"]
    assert UNFIT_ACTION not in gone and SHORT not in gone


# ------------------------------------------------------------------------------------------------ on the screen


def test_lines_for_a_person() -> None:
    stats = {
        "train": {"a": {"lints": {"black images": 2}}, "b": {"lints": {"black images": 3, "empty texts": 1}}},
        "validation": {"a": {"lints": {"black images": 4}}},
    }
    assert list(listed(stats)) == [
        f"9 black images (2 tasks): {LINTS['black images']}",
        f"1 empty texts (b): {LINTS['empty texts']}",
    ]
    assert list(listed({"train": {"a": {"lints": {}}}})) == []


def spoilt_minari(folder: Path) -> str:
    """Three episodes of four steps: a camera that hangs, empty orders, tiny actions, the last of them zeros."""
    h5py = pytest.importorskip("h5py")
    data = folder / "spoilt/data"
    data.mkdir(parents=True)
    eye: dict[str, Any] = {"type": "Box", "dtype": "uint8", "shape": [16, 16, 3]}
    eye |= {"low": np.zeros((16, 16, 3), int).tolist(), "high": np.full((16, 16, 3), 255).tolist()}
    order = {"type": "Text", "max_length": 9, "min_length": 0, "charset": "a"}
    box = {"type": "Box", "shape": [2], "dtype": "float32", "low": [-1.0, -1.0], "high": [1.0, 1.0]}
    said = {
        "dataset_id": "toy/spoilt-v0",
        "total_episodes": 3,
        "data_format": "hdf5",
        "observation_space": json.dumps({"type": "Dict", "subspaces": {"eye": eye, "order": order}}),
        "action_space": json.dumps(box),
    }
    (data / "metadata.json").write_text(json.dumps(said))
    with h5py.File(data / "main_data.hdf5", "w") as file:
        for number in range(3):
            group = file.create_group(f"episode_{number}")
            picture = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
            group["observations/eye"] = np.stack([picture] * 5)
            group.create_dataset("observations/order", data=[""] * 5, dtype=h5py.string_dtype())
            group["actions"] = np.float32([[0.001, 0.001], [-0.001, 0.0], [0.0, -0.001], [0.0, 0.0]])
            group["rewards"] = np.zeros(4)
            group["terminations"] = np.array([False, False, False, number > 0])
            group["truncations"] = np.zeros(4, bool)
    return "minari:spoilt"


def test_a_conversion_says_what_looks_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    open_source.cache_clear()
    assert main(["convert", spoilt_minari(tmp_path), "--out", "out/toy/1.0.0"]) == 0
    stats = json.loads(Path("out/toy/1.0.0/stats.json").read_text())
    expected = {
        "frames equal to the one before": 9,
        "episodes that neither terminated nor were truncated": 1,
        FILLED: 3,
        UNFIT_ACTION: 2,
        "empty texts": 12,
    }
    task = stats["train"]["toy/spoilt-v0"]
    assert task["lints"] == expected
    assert task["fields"]["observation/eye"]["longest_run"] == 4
    for printed in (capsys.readouterr().out, main(["inspect", "out/toy/1.0.0"]) or capsys.readouterr().out):
        for what, count in expected.items():
            assert what in printed and LINTS[what] in printed and str(count) in printed
    assert "give it the bounds low=-0.001, high=0.001" in printed


def test_the_page_lists_them_all() -> None:
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|", (ROOT / "docs/lints.md").read_text(), re.M)
    assert dict(rows[1 : 1 + len(LINTS)]) == LINTS


def test_no_lint_without_a_meaning() -> None:
    counted = merge_stats(acted([[1, 0], [0, 0]]), acted([[9, 9]], **{FINAL_OBSERVATION: 1}))
    spec = EpisodeSpec({"eye": ImageSpec((16, 16, 3))}, DiscreteSpec(2))
    eye = np.stack([np.full((16, 16, 3), value, np.uint8) for value in (0, 9, 9)])
    seen = stats_of(Episode(spec, {"eye": eye}, [0, 1, 0]))
    found = complete(counted)["lints"] | seen["lints"]
    assert len(found) >= 8 and set(found) <= set(LINTS)
