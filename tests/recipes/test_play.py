"""The player: its lines are what the policy and the expert did, its page holds them, and its server plays on demand."""

import base64
import dataclasses
import io
import json
import re
import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")
from PIL import Image

from gato_model.acting.policy import GatoPolicy
from gato_model.evaluation.evaluate import evaluate
from gato_tokenize.environments.recipe import Recipe
from pipelines.sources.rollouts.rollout import Rollout, play
from recipes.play import __main__ as command
from recipes.play import player as player_module
from recipes.play.episode import MOST_BARS, data_uri, lines
from recipes.play.page import page, server
from recipes.play.player import Player

SEED = 7
CART_POLE = Rollout(Recipe("CartPole-v1"), "recipes.experts.classic:cart_pole", max_steps=12, noise=0.5)
PENDULUM = Rollout(Recipe("Pendulum-v1"), "recipes.experts.classic:pendulum", max_steps=4)
pytestmark = pytest.mark.filterwarnings("ignore")  # simulators warn as they are imported


@pytest.fixture(scope="module")
def player() -> Player:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(player_module, "rollouts", lambda names: [("one", CART_POLE), ("two", PENDULUM)])
        return Player("demo")


@pytest.fixture(scope="module")
def episode(player: Player) -> list[dict[str, Any]]:
    return list(player.lines("CartPole-v1", SEED))


def of(episode: list[dict[str, Any]], who: str) -> list[dict[str, Any]]:
    return [line for line in episode if line.get("who") == who]


def test_both_episodes_are_those_that_are_scored(episode: list[dict[str, Any]], player: Player) -> None:
    """The model's return is that of `evaluate`, the expert's that of a rollout without noise; both play at once."""
    policy = GatoPolicy.from_pretrained("demo", "CartPole-v1", **player.acting("CartPole-v1"))
    model, expert = of(episode, "model"), of(episode, "expert")
    found = evaluate(policy, CART_POLE.recipe, [SEED], max_steps=12)
    assert model[-1]["return"] == found.returns[0] == len(model) - 1
    assert expert[-1]["return"] == play(dataclasses.replace(CART_POLE, noise=0.0), SEED).ending.return_ == 12
    assert [line["return"] for line in model] == list(range(len(model)))
    assert [line["over"] for line in model] == [False] * (len(model) - 1) + [True]
    assert [line.get("who") for line in episode[:6]] == [None, None, "model", "expert", "model", "expert"]
    assert {line["action"] for line in expert[:-1]} == {"left", "right"} and "action" not in expert[-1]


def test_a_line_has_the_frame_the_tokens_and_the_distribution(episode: list[dict[str, Any]]) -> None:
    first, *_, last = of(episode, "model")
    pictures = [Image.open(io.BytesIO(base64.b64decode(line["frame"].partition(",")[2]))) for line in (first, last)]
    assert [picture.size for picture in pictures] == [(320, 213)] * 2
    assert np.abs(np.asarray(pictures[0], int) - np.asarray(pictures[1], int)).max() > 50
    assert [(run["path"], run["kind"], len(run["tokens"])) for run in first["runs"]] == [
        ("observation", "continuous", 4), ("separator", "separator", 1), ("action", "discrete action", 1),
    ]  # fmt: skip
    environment, seen = CART_POLE.recipe.start(SEED)
    environment.close()
    assert [float(value) for _, value, _ in first["runs"][0]["tokens"]] == pytest.approx(seen.tolist(), abs=0.01)
    (choice,) = first["choices"]
    assert choice["names"] == ["left", "right"] and choice["id"] == choice["first"] + choice["chosen"]
    assert sum(choice["bars"]) == pytest.approx(1, abs=1e-3) and choice["ends"] is None
    assert first["action"] == choice["value"] == choice["names"][choice["chosen"]]


def test_a_thousand_bins_are_joined_to_few_bars(player: Player) -> None:
    first = next(line for line in player.lines("Pendulum-v1", SEED) if line.get("who") == "model")
    (choice,) = first["choices"]
    assert len(choice["bars"]) == MOST_BARS and choice["ids_of_bar"] * MOST_BARS == 1024
    assert sum(choice["bars"]) == pytest.approx(1, abs=0.01)
    assert choice["ends"] == [-2, 2] and choice["first"] == 32000
    low, high = (-2 + 4 * (choice["chosen"] + i) / MOST_BARS for i in (0, 1))
    assert low <= float(choice["value"]) <= high


def test_a_frame_is_made_small_and_its_sides_keep_their_proportion() -> None:
    picture = Image.open(io.BytesIO(base64.b64decode(data_uri(np.zeros((200, 800, 3), np.uint8)).partition(",")[2])))
    assert picture.size == (320, 80)


def test_a_page_holds_its_episodes_and_nothing_ends_its_script(player: Player, monkeypatch: Any) -> None:
    told = {"told": "</script><b>"}
    text = page(player, SEED, {"CartPole-v1": [told]})
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert json.loads(data)["episodes"] == {"CartPole-v1": [told]}
    assert [task["name"] for task in json.loads(data)["tasks"]] == ["CartPole-v1"]
    assert "http:" not in text.replace("http://www.w3.org/2000/svg", "") and "src=" not in text
    (served,) = re.findall(r'id="data">(.*?)</script>', page(player, SEED), re.S)
    assert [task["name"] for task in json.loads(served)["tasks"]] == ["CartPole-v1", "Pendulum-v1"]
    assert json.loads(served)["episodes"] is None


def test_the_server_plays_when_it_is_asked(player: Player, episode: list[dict[str, Any]]) -> None:
    with server(player, 0, SEED) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{serving.server_port}/"
        with urllib.request.urlopen(address) as answer:
            assert b"A model at play" in answer.read()
        with urllib.request.urlopen(f"{address}episode?task=CartPole-v1&seed={SEED}") as answer:
            assert [json.loads(line) for line in answer] == episode
        for wrong in ("episode?task=Other&seed=1", "episode?task=CartPole-v1&seed=x", "page.html"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(address + wrong)
        serving.shutdown()


def test_what_goes_wrong_is_told_on_the_page(player: Player, monkeypatch: Any) -> None:
    broken = dataclasses.replace(CART_POLE, policy="recipes.experts.classic:no_such_policy")
    monkeypatch.setitem(player.tasks, "CartPole-v1", ("one", broken))
    with server(player, 0, SEED) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        with urllib.request.urlopen(
            f"http://127.0.0.1:{serving.server_port}/episode?task=CartPole-v1&seed=1"
        ) as answer:
            *_, last = map(json.loads, answer)
        serving.shutdown()
    assert "no_such_policy" in last["told"]


def test_the_command_writes_a_page(player: Player, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    out = tmp_path / "page.html"
    monkeypatch.setattr(command, "Player", lambda folder, which, steps: asked.append((folder, which, steps)) or player)
    asked: list[Any] = []
    monkeypatch.setattr("sys.argv", ["play", "CartPole-v1", "--seed", "9", "--max-steps", "3", "--out", str(out)])
    assert command.main() == 0
    assert asked == [("demo", "best", 3)]
    assert "CartPole-v1: " in capsys.readouterr().out and '"seed": 9' in out.read_text(encoding="utf-8")
    for words, message in ((["CartPole-v1"], "tasks need --out"), (["Other", "--out", str(out)], "no task Other")):
        monkeypatch.setattr("sys.argv", ["play", *words])
        with pytest.raises(SystemExit):
            command.main()
        assert message in capsys.readouterr().err


def test_episodes_are_cut_when_asked(player: Player, monkeypatch: Any) -> None:
    monkeypatch.setattr(player, "_max_steps", 2)
    assert [len(of(list(player.lines("CartPole-v1", 1)), who)) for who in ("model", "expert")] == [3, 3]


@pytest.mark.parametrize(
    ("recipe", "policy", "size"),
    [
        (Recipe("recipes.environments.sokoban:Sokoban/7x7-2boxes-v0"), "recipes.experts.sokoban:solver", (112, 112)),
        (Recipe("BabyAI-GoToLocal-v0", image="cells"), "expert", (256, 256)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_environments_that_are_drawn_without_opengl(recipe: Recipe, policy: str, size: tuple[int, int]) -> None:
    if recipe.name.startswith("Sokoban"):
        pytest.importorskip("gym_sokoban")
    rollout = Rollout(recipe, policy, max_steps=40)
    policy_of = GatoPolicy.from_pretrained("demo", recipe.task, temperature=1.0)
    found = [line for line in lines(policy_of, rollout, SEED) if "who" in line]
    expert = of(found, "expert")
    assert expert[-1]["success"] is True and len({line["frame"] for line in expert}) > 1
    assert Image.open(io.BytesIO(base64.b64decode(expert[0]["frame"].partition(",")[2]))).size == size
    assert of(found, "model")[0]["runs"][-2]["path"] == "separator"
