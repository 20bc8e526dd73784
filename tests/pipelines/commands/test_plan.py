"""`gato-data plan`: what metadata and the first episodes of a source show."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.__main__ import main
from tests.helpers.conversions import minari_file


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


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
