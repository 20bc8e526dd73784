"""Scores of a model in the recipes' environments: what is normalised by what, and a run that goes on."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")
from gato_model.config import GatoConfig
from gato_model.network.model import Gato
from gato_tokenize.storage.dataset import DatasetTokenizer
from pipelines.sources import open_source
from recipes import scores


def task(successes: bool, gato: list[float], expert: list[float], random: list[float]) -> dict[str, object]:
    """The other numbers are such that a score by them would be another one."""
    names = ("gato", gato), ("expert", expert), ("random", random)
    other = [5.0, 6.0]
    return {
        name: {"returns": other, "successes": values} if successes else {"returns": values, "successes": None}
        for name, values in names
    }


def test_a_score_is_by_success_where_the_environment_tells_it() -> None:
    assert scores.score(task(True, [1.0, 0.0], [1.0, 1.0], [0.5, 0.0])) == ([1.0, pytest.approx(-1 / 3)], "success")
    assert scores.score(task(False, [60.0, 20.0], [100.0], [20.0])) == ([0.5, 0.0], "return")
    assert scores.score(task(True, [1.0], [0.5], [0.5])) is None


@pytest.mark.filterwarnings("ignore")  # simulators warn as they are imported
def test_each_task_is_played_once_by_model_expert_and_chance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = [f"rollouts:MountainCar{kind}-v0?policy={policy}&max_steps=5&noise=0.5" for kind, policy in (
        ("", "recipes.experts.classic:mountain_car"), ("Continuous", "recipes.experts.classic:mountain_car_continuous"),
    )]  # fmt: skip
    monkeypatch.setattr(scores, "read_recipe", lambda name: {"sources": [*sources, *shorter]})
    shorter = [text.replace("max_steps=5", "max_steps=3") for text in sources]  # the same tasks, played by the first
    specs = {name: spec for text in sources for name, spec in open_source(text).specs().items()}
    tokenizer = DatasetTokenizer.for_specs(specs, None)
    model = Gato(GatoConfig(1, 1, 32, 16, 64, sequence_length=64, patch_channels=32))
    monkeypatch.setattr(DatasetTokenizer, "load", lambda folder: tokenizer)
    monkeypatch.setattr(scores, "load_model", lambda folder, which: model)
    out = tmp_path / "scores.jsonl"
    words = ["scores", "run", "classic_control", "--out", str(out), "--episodes", "2"]
    options, recipe = words[3:], words[2]
    monkeypatch.setattr("sys.argv", [*words[:2], *options, recipe, "--tasks", "MountainCar-v0"])
    assert scores.main() == 0
    monkeypatch.setattr("sys.argv", words)
    assert scores.main() == scores.main() == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["task"] for line in lines] == ["MountainCar-v0", "MountainCarContinuous-v0"]
    for line in lines:
        assert line["seeds"] == [1_000_000, 1_000_002]
        assert {len(line[name]["returns"]) for name in ("gato", "expert", "random")} == {2}
    assert lines[0]["expert"]["returns"] == [-5.0, -5.0]
    assert np.max(lines[1]["expert"]["returns"]) < -0.3  # five pushes of 0.9, nothing of the noise
    monkeypatch.setattr(scores, "played", lambda rollout, seeds: {"returns": [0.0] * len(seeds), "successes": None})
    again = tmp_path / "again.jsonl"
    words[4:] = [str(again), "--episodes", "1", "--expert-and-chance", str(out)]
    monkeypatch.setattr("sys.argv", words)
    assert scores.main() == 0
    for line, before in zip(map(json.loads, again.read_text().splitlines()), lines, strict=True):
        assert [line[name]["returns"] for name in ("expert", "random")] == [
            before[name]["returns"][:1] for name in ("expert", "random")
        ]
    lines[0]["way"]["max_steps"] = 6  # other episodes
    out.write_text("".join(json.dumps(line) + "\n" for line in lines))
    again.unlink()
    assert scores.main() == 0
    assert [json.loads(line)["expert"]["returns"] == [0.0] for line in again.read_text().splitlines()] == [True, False]
