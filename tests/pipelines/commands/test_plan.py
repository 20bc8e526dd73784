"""`gato-data plan`: what metadata and the first episodes of a source show."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.__main__ import main
from tests.helpers.conversions import minari_file
from tests.helpers.lerobot_files import write_v3
from tests.helpers.rlds_files import by_hand
from tests.helpers.robomimic_files import write_demos


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_masked() -> Path:
    return write_demos(Path("a.hdf5"), 4, {"train": ["demo_2"], "valid": ["demo_0", "demo_1", "demo_3"]})


def planned(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main(["plan", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_ranges_and_tokens_are_those_of_the_first_episodes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "steps_of_mine.py").write_text(
        "import numpy as np\n"
        "def episodes():\n"
        "    for i in range(5):\n"
        "        if i == 1: yield {'observations': np.full((4, 2), np.nan), 'actions': np.zeros((4, 1))}\n"
        "        else: yield {'observations': np.full((4, 2), float(i)), 'actions': np.full((4, 1), -0.5)}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    document = planned(capsys, "python:steps_of_mine:episodes?task=mine")
    (source,) = document["sources"]
    seen = source["seen"]["mine"]
    assert seen["ranges"] == {"observation": [0.0, 2.0], "action": [-0.5, -0.5]}  # 3 and 4 are not looked at
    assert (seen["episodes"], seen["steps"], seen["positions"]) == (2, 8, 2)
    assert len(source["failed"]) == 1 and "would be a reject: ValueError" in source["failed"][0]
    assert main(["plan", "python:steps_of_mine:episodes?task=mine"]) == 0
    out = capsys.readouterr().out
    assert "at most 2 observation tokens in a timestep, of 512 local positions\n  observation from 0 to 2\n" in out


def test_episodes_are_counted_from_metadata(capsys: pytest.CaptureFixture[str]) -> None:
    source = minari_file("none")
    (found,) = planned(capsys, source)["sources"]
    assert found["episodes"] and found["bytes"] and found["failed"] == []
    assert planned(capsys, source, "--limit", "1")["sources"][0]["episodes"] == 1
    assert planned(capsys, source, "--limit", "1")["sources"][0]["seen"].popitem()[1]["episodes"] == 1
    assert not Path("out").exists() and not Path("plan").exists()


def test_what_is_filtered_is_said_and_text_has_no_positions(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.txt").write_text("one\n\ntwo\n")
    (found,) = planned(capsys, "text:a.txt?by=line")["sources"]
    assert found["failed"] == ["a.txt#2 would be filtered: blank line"]
    assert found["episodes"] == 3 and found["seen"]["text"]["positions"] == 0


def test_too_many_tokens_are_refused_before_any_episode(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", minari_file("none"), "--local-positions", "1"]) == 2
    assert "tokens in a timestep" in capsys.readouterr().err


def test_candidates_are_counted_in_the_splits_of_the_source_and_in_those_of_a_fraction(
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = by_hand(Path("toy/1.0.0"))  # 3 records in train, 1 in val
    (found,) = planned(capsys, str(folder))["sources"]
    assert (found["episodes"], found["splits"]) == (4, {"train": 3, "validation": 1})
    assert main(["plan", "toy"]) == 0
    assert (
        "up to 4 episodes, 1 partition, " in (out := capsys.readouterr().out) and "3 in train, 1 in validation" in out
    )
    assert planned(capsys, "toy", "--limit", "2")["sources"][0]["splits"] == {"train": 2}
    split = {}
    for words in (["plan"], ["convert", "--out", "out/toy/1.0.0"]):
        command, *more = words
        assert main([command, "toy", *more, "--validation-fraction", "0.5", "--split-seed", "3", "--json"]) == 0
        split[command] = json.loads(capsys.readouterr().out)
    assert split["plan"]["splits"] == ["train", "validation"]
    made = {name: one["records"] for name, one in split["convert"]["splits"].items()}
    assert split["plan"]["sources"][0]["splits"] == made and sum(made.values()) == 4


@pytest.mark.parametrize("make", [lambda: write_v3(Path("a"), splits={"train": "0:1", "val": "1:4"}), write_masked])
def test_splits_that_no_partition_tells_are_those_of_the_candidates(
    make: Callable[[], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (found,) = planned(capsys, str(make()))["sources"]
    assert found["splits"] == {"train": 1, "validation": 3} and found["episodes"] == 4
