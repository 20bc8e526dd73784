"""Each lever changes one thing of the base, by options that the commands have; no point is made twice."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import tomli_w

pytest.importorskip("tensorflow")
from gato_model.__main__ import COMMANDS
from gato_model.commands.train import settings_of
from gato_model.training.settings import TrainSettings
from gato_tokenize.command_line import parser_of
from pipelines.__main__ import COMMANDS as PIPELINES
from pipelines.sources import open_source
from pipelines.sources.rollouts.source import RolloutSource
from recipes import ablations

LEVERS = ablations.read_levers()
WORK = Path("work")


def settings(lever: ablations.Lever, folder: Path) -> TrainSettings:
    """Read the options as `gato-model train` does, from the file that it is given."""
    path = folder / "train.toml"
    path.write_text(tomli_w.dumps({**lever.ways["train"], "data": ["set"], "out": "run", "seed": 0}))
    return settings_of(parser_of("gato-model", "", COMMANDS).parse_args(["train", "--config", str(path)]))


@pytest.mark.parametrize("name", LEVERS)
def test_a_lever_is_made_of_options(name: str, tmp_path: Path) -> None:
    lever, base = LEVERS[name], LEVERS["base"].ways
    ways = lever.ways
    assert set(lever.changes) <= set(base) == set(ways) and (name == "base") == (ways == base)
    assert set(ways["sources"]) == set(base["sources"]) == set(ways["act"])
    for text in ways["sources"].values():
        source = open_source(text)
        assert isinstance(source, RolloutSource)
        assert source.options.seed + source.options.episodes < 1_000_000 < ablations.FIRST_OF_CHOICES
        assert source.task in {open_source(one).task for one in base["sources"].values()}  # type: ignore[attr-defined]
    path = tmp_path / "convert.toml"
    path.write_text(tomli_w.dumps({**ways["convert"], "sources": list(ways["sources"].values()), "out": "set/1.0.0"}))
    parser_of("gato-data", "", PIPELINES).parse_args(["convert", "--config", str(path)])
    same = settings(lever, tmp_path) == settings(LEVERS["base"], tmp_path)
    assert same == ("train" not in lever.changes)


def test_all_see_as_many_tokens(tmp_path: Path) -> None:
    found = [settings(lever, tmp_path) for lever in LEVERS.values()]
    assert len({one.steps * one.batch_size * one.config.sequence_length for one in found}) == 1


def test_the_paper_differs_from_the_base_in_what_single_levers_change(tmp_path: Path) -> None:
    base, paper = (
        dataclasses.asdict(settings(LEVERS[name], tmp_path)) for name in ("base", "the paper's choices in all of these")
    )
    levers = [lever for lever in LEVERS.values() if len(lever.changes.get("train", {})) == 1]
    single = [dataclasses.asdict(settings(lever, tmp_path)) for lever in levers]
    different = {name for name in base if base[name] != paper[name]}
    assert len(different) >= 4 and different <= {name for one in single for name in one if one[name] != base[name]}


@pytest.mark.parametrize(
    ("changes", "changed", "run"),
    [
        ({}, [], "base"),
        ({"act": {"ball": {"temperature": 0.0}}}, [], "base"),
        ({"train": {"smoothing": 0.0}}, [], "mine"),
        ({"sources": {"ball": "rollouts:CartPole-v1"}}, ["ball"], "mine"),
        ({"convert": {}}, ["reach", "pendulum", "ball"], "mine"),
    ],
)
def test_where_a_lever_takes_its_data_and_its_model_from(changes: Any, changed: list[str], run: str) -> None:
    lever = ablations.Lever("mine" if changes else "base", changes, LEVERS["base"].ways)
    folders = {source: "mine" if source in changed else "base" for source in ("reach", "pendulum", "ball")}
    assert lever.datasets(WORK) == {source: WORK / name / "data" / source / "1.0.0" for source, name in folders.items()}
    assert lever.run(1, WORK) == WORK / run / "seed_1"


def test_folders_of_levers_differ() -> None:
    alone = [ablations.Lever(name, {"train": {}}, LEVERS["base"].ways) for name in LEVERS]
    assert len({lever.run(0, WORK) for lever in alone}) == len(LEVERS)


def test_every_lever_has_the_first_seed_before_any_has_the_second() -> None:
    assert list(ablations.points(["a", "b"], 2)) == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]


def test_the_loss_of_held_out_actions_is_over_tokens(tmp_path: Path) -> None:
    rows = [
        {"step": 1, "held_out/A/continuous_action/loss": 9.0, "held_out/A/continuous_action/tokens": 1.0},
        {"step": 2, "loss": 7.0},
        {"step": 2, "held_out/A/continuous_action/loss": 1.0, "held_out/A/continuous_action/tokens": 1.0,
         "held_out/B/continuous_action/loss": 2.0, "held_out/B/continuous_action/tokens": 3.0,
         "held_out/C/discrete_action/loss": 0.5, "held_out/C/discrete_action/tokens": 2.0,
         "held_out/C/text/loss": 0.0, "held_out/C/text/tokens": 2.0},
    ]  # fmt: skip
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert ablations.held_out(tmp_path) == {"discrete": 0.5, "continuous": 1.75}


def test_an_expert_like_chance_gives_no_score() -> None:
    numbers = {"returns": [1.0], "successes": None}
    with pytest.raises(ValueError, match="the expert of one is no better than chance: play more --episodes"):
        ablations.mean_score({"task": "one", **dict.fromkeys(("gato", "expert", "random"), numbers)})


def test_an_unknown_lever(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.setattr("sys.argv", ["ablations", "nothing", "--out", str(tmp_path / "a.jsonl")])
    with pytest.raises(SystemExit):
        ablations.main()
    assert "no lever 'nothing'; levers: 'base', " in capsys.readouterr().err


@pytest.mark.slow
def test_points_are_played_and_not_made_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base and three kinds of levers, on a small source: a choice of data, one of training, one of acting."""
    config = tmp_path / "ablations.toml"
    act = {"temperature": 1.0, "continuous": "mean", "context": "timestep"}
    pole = "rollouts:Pendulum-v1?policy=recipes.experts.classic:pendulum&episodes=8"
    grid = "rollouts:BabyAI-GoToObj-v0?image=cells&episodes=8"
    train = {"preset": "tiny", "sequence-length": 64, "batch-size": 2, "steps": 2, "evaluate-every": 2}
    base = {
        "sources": {"pole": pole, "grid": grid},
        "convert": {"validation-fraction": 0.5},
        "train": train,
        "act": {"pole": act, "grid": {"temperature": 1.0}},
    }
    levers = {
        "data": {"sources": {"pole": f"{pole}&seed=50"}},
        "rate": {"train": {"learning-rate": 1e-2}},
        "cold": {"act": {"pole": {"temperature": 0.0}}},
    }
    config.write_text(tomli_w.dumps({"base": base, "levers": levers}))
    monkeypatch.setattr(ablations, "CONFIG", config)
    file, work = tmp_path / "ablations.jsonl", tmp_path / "work"
    words = ["--out", str(file), "--work", str(work), "--episodes", "2", "--seeds", "1"]
    monkeypatch.setattr("sys.argv", ["ablations", *words])
    assert ablations.main() == 0
    written = file.read_text()
    lines = {line["lever"]: line for line in map(json.loads, written.splitlines())}
    assert list(lines) == ["base", "data", "rate", "cold"]
    assert sorted(path.name for path in work.iterdir()) == ["base", "data", "rate"]
    assert sorted(path.name for path in (work / "data" / "data").iterdir()) == ["pole", "pole.toml"]
    held_out = {name: line["held_out"]["continuous"] for name, line in lines.items()}
    assert held_out["base"] == held_out["cold"] and len(set(held_out.values())) == 3
    assert lines["cold"]["tasks"][0]["acting"] == {**act, "temperature": 0.0}
    assert all(len(task["gato"]["returns"]) == 2 for line in lines.values() for task in line["tasks"])
    monkeypatch.setattr(ablations, "measured", None)  # whatever would be made or played fails now
    assert ablations.main() == 0 and file.read_text() == written
