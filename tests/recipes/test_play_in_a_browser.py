"""The player's page in a real browser: it logs nothing, loads nothing, and shows what a line says."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")
from recipes.play.episode import data_uri
from recipes.play.page import page

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


def line(who: str, t: int, last: int, **more: Any) -> dict[str, Any]:
    frame = data_uri(np.full((20, 30, 3), 40 * t, np.uint8))
    return {"who": who, "frame": frame, "return": 1.5 * t, "over": t == last, "success": t == last or None, **more}


def decided(t: int) -> dict[str, Any]:
    bars = {"ids_of_bar": 1, "first": 0, "bars": [0.25, 0.75], "names": ["left", "right"], "ends": None}
    choice = {"path": "action", "value": "left", "id": t % 2, "chosen": t % 2, **bars}
    runs = [{"path": "observation", "kind": "text", "columns": None, "picture": None, "tokens": [[5, "'<b>'", "<b>"]]}]
    return {"action": ("left", "right")[t % 2], "choices": [choice], "runs": runs}


def test_a_page_is_walked_by_hand(tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    model = [line("model", t, 3, **(decided(t) if t < 3 else {})) for t in range(4)]
    expert = [line("expert", t, 1, **({"action": "left"} if t < 1 else {})) for t in range(2)]
    player: Any = SimpleNamespace(folder="demo", tasks={"<i>": ("one", None)}, acting=lambda task: {"temperature": 1.0})
    path = tmp_path / "page.html"
    path.write_text(page(player, 7, {"<i>": [*model, *expert]}), encoding="utf-8")
    said: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        tab = browser.new_page(viewport={"width": 1400, "height": 900})
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: said.append(request.url) if request.url.startswith("http") else None)
        tab.goto(path.as_uri())
        tab.evaluate("setRunning(false); go(0)")
        tab.keyboard.press("ArrowRight")
        assert tab.inner_text("#when") == "timestep 1 of 3"
        assert tab.inner_text("#model-facts").split() == [
            "timestep",
            "1",
            "return",
            "so",
            "far",
            "1.5",
            "action",
            "right",
        ]
        assert "over, success" in tab.inner_text("#expert-facts")
        heights = tab.eval_on_selector_all(".bars i", "bars => bars.map((bar) => bar.getBoundingClientRect().height)")
        assert heights[1] == pytest.approx(3 * heights[0], rel=0.1)
        assert tab.inner_text(".names .chosen") == "right"
        assert "<b>" in tab.inner_text("#runs") and tab.inner_text("#task") == "<i>"
        assert tab.get_attribute("#model-frame", "src") == model[1]["frame"]
        assert tab.get_attribute("#expert-frame", "src") == expert[-1]["frame"]
        for _ in range(5):
            tab.keyboard.press("ArrowRight")
        assert tab.inner_text("#when") == "timestep 3 of 3" and tab.inner_text("#choices") == "the episode is over"
        tab.keyboard.press(" ")  # runs from the beginning
        tab.wait_for_function("document.getElementById('when').textContent === 'timestep 2 of 3'")
        browser.close()
    assert said == []
