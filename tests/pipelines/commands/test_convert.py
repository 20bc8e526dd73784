"""What `convert` says about the splits that it was asked for."""

import json
from pathlib import Path

import pytest
from conversions import convert, write_lines

NOTE = "none of 3 episodes fell into {}: chance puts each into a split; another"


@pytest.fixture(autouse=True)
def in_a_folder_of_three_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_lines("docs.jsonl.gz", [json.dumps({"text": f"document {number}"}) for number in range(3)])


@pytest.mark.parametrize(("fraction", "empty"), [("0.001", "validation"), ("0.999", "train")])
def test_a_split_without_an_episode_is_named(capsys: pytest.CaptureFixture[str], fraction: str, empty: str) -> None:
    assert convert("text:docs.jsonl.gz", "--validation-fraction", fraction) == 0
    assert f"note: {NOTE.format(empty)} --validation-fraction or --split-seed helps" in capsys.readouterr().out
    assert convert("text:docs.jsonl.gz", "--validation-fraction", fraction, "--json") == 0
    assert json.loads(capsys.readouterr().out)["notes"] == [
        f"{NOTE.format(empty)} --validation-fraction or --split-seed helps"
    ]


@pytest.mark.parametrize("words", [[], ["--validation-fraction", "0.5", "--split-seed", "1"]])
def test_splits_that_hold_something_are_not(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert convert("text:docs.jsonl.gz", *words) == 0
    assert "fell into" not in capsys.readouterr().out
