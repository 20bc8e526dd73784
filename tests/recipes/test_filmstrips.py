"""Filmstrips: which task is shown, which frames, and that the pages of results hold them."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow")
from PIL import Image

from gato_tokenize.environments.recipe import Recipe
from pipelines.sources.rollouts.rollout import Rollout
from recipes import filmstrips
from recipes.filmstrips import FRAMES, HEIGHT, Filmstrip, middle, read_filmstrips, strip


def line(recipe: str, task: str, gato: float, expert: float = 1.0) -> dict[str, Any]:
    numbers = {"gato": gato, "expert": expert, "random": 0.0}
    found = {name: {"returns": [value, value], "successes": None} for name, value in numbers.items()}
    acting = {"rows": 2, "temperature": 1.0, "continuous": "mean", "context": "timestep", "which": "best"}
    return {"recipe": recipe, "task": task, "seeds": [7, 9], "acting": acting, **found}


def test_the_task_in_the_middle_of_each_domain_is_shown() -> None:
    scores = [line("a", "high", 0.9), line("a", "low", 0.1), line("b", "one", 0.2), line("a", "middle", 0.3)]
    assert [one["task"] for one in middle(scores)] == ["middle", "one"]
    assert [one["task"] for one in middle(scores[:2])] == ["low"]  # the lower of two
    assert middle([line("a", "no score", 0.5, expert=0.0)]) == []


@pytest.mark.parametrize("count", [3, 8, 50])
def test_a_strip_has_the_first_and_the_last_frame(count: int) -> None:
    frames = [Image.new("RGB", (30, HEIGHT), (i, 0, 0)) for i in range(count)]
    joined = strip(frames)
    shown = min(count, FRAMES)
    seen = [joined.getpixel((i * 32 + 15, 50))[0] for i in range(shown)]  # type: ignore[index]
    assert joined.size == (shown * 32 - 2, HEIGHT)
    assert (seen[0], seen[-1]) == (0, count - 1) and seen == sorted(set(seen))


@pytest.mark.filterwarnings("ignore")  # simulators warn as they are imported
def test_the_command_plays_the_scored_seed_as_it_was_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rollout = Rollout(Recipe("CartPole-v1"), "recipes.experts.classic:cart_pole", max_steps=5)
    monkeypatch.setattr(filmstrips, "rollouts", lambda names: [("classic_control", rollout)])
    scores = tmp_path / "scores.jsonl"
    scores.write_text(json.dumps(line("classic_control", "CartPole-v1", 5.0)) + "\n", encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["filmstrips", "demo", str(scores)])
    assert filmstrips.main() == 0
    found = read_filmstrips(tmp_path / "filmstrips.json")
    assert found == [Filmstrip("classic_control", "CartPole-v1", 7, 5, 5.0, None, "filmstrips/classic_control.jpg")]
    picture = Image.open(tmp_path / found[0].file)
    assert picture.size == (6 * 170 - 2, HEIGHT)  # frames of 400 x 600
    assert found[0].caption == "CartPole-v1, seed 7: 5 steps, return 5"
    assert read_filmstrips(tmp_path / "none.json") == []


def test_the_strips_of_the_results_are_there_and_small() -> None:
    results = Path(__file__).parents[2] / "results"
    shown = read_filmstrips(results / "filmstrips.json")
    scored = [json.loads(text) for text in (results / "scores.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [one.task for one in shown] == [one["task"] for one in middle(scored)]
    assert sum((results / one.file).stat().st_size for one in shown) < 300_000
    page, text = ((results / name).read_text(encoding="utf-8") for name in ("index.html", "README.md"))
    for one in shown:
        assert f"]({one.file})" in text and one.caption in text and one.caption in page
    assert page.count("data:image/jpeg;base64,") == len(shown)
