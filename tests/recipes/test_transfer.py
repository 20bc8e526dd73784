"""Fine-tuning on levels that no recipe has: both beginnings train alike, and no point is made twice."""

import dataclasses
import json
from pathlib import Path

import pytest

pytest.importorskip("tensorflow")
from gato_model.__main__ import COMMANDS
from gato_model.commands.train import settings_of
from gato_model.shipped import model_path
from gato_tokenize.command_line import parser_of
from recipes import transfer
from recipes.make_corpus import QUICKEST_FIRST, read_recipe

OUT = Path("out")


def test_no_recipe_has_the_levels() -> None:
    read = {text.split("?")[0] for name in QUICKEST_FIRST for text in read_recipe(name)["sources"]}
    assert "rollouts:BabyAI-GoToLocal-v0" in read
    assert not read & {f"rollouts:{level}" for level in transfer.LEVELS}


def test_both_beginnings_train_alike() -> None:
    """The same sizes, data, steps and rates; only the weights at the beginning differ."""
    run = Path(model_path("demo"))
    model, nothing = (
        settings_of(parser_of("gato-model", "", COMMANDS).parse_args(transfer.train_words(run, beginning, OUT, OUT)))
        for beginning in transfer.BEGINNINGS
    )
    ours = {"fine_tune": "", "ordered_start": True}  # and the words of a model that is fine-tuned are those of its run
    assert dataclasses.replace(model, **ours) == nothing


def test_points() -> None:
    """The model as it is needs no other beginning; then each number of demonstrations has both."""
    found = list(transfer.points(["a"]))
    assert found[:3] == [("a", 0, "model"), ("a", 10, "model"), ("a", 10, "nothing")]
    assert len(found) == 1 + 2 * len(transfer.DEMONSTRATIONS)


@pytest.mark.slow
def test_points_are_played_and_not_made_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "DEMONSTRATIONS", (2,))
    monkeypatch.setattr(transfer, "STEPS", 2)
    level, file = "BabyAI-GoToObj-v0", tmp_path / "transfer.jsonl"
    words = ["demo", level, "--out", str(file), "--work", str(tmp_path / "work"), "--episodes", "2"]
    monkeypatch.setattr("sys.argv", ["transfer", *words])
    assert transfer.main() == 0
    written = file.read_text()
    lines = [json.loads(line) for line in written.splitlines()]
    assert [(one["demonstrations"], one["beginning"]) for one in lines] == [(0, "model"), (2, "model"), (2, "nothing")]
    assert all(one["expert"]["successes"] == [1.0, 1.0] and len(one["gato"]["successes"]) == 2 for one in lines)
    monkeypatch.setattr(transfer, "made", None)  # whatever would be made or played fails now
    assert transfer.main() == 0 and file.read_text() == written
