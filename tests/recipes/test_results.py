"""The page of results: its numbers are those of the scores file, and names are text."""

import json
from pathlib import Path

import pytest

pytest.importorskip("tensorflow")
from recipes import results
from recipes.scores import read_scores


def line(recipe: str, task: str, gato: list[float], expert: list[float], successes: bool = True) -> str:
    def of(values: list[float]) -> dict[str, object]:
        return (
            {"returns": [5.0] * len(values), "successes": values}
            if successes
            else {"returns": values, "successes": None}
        )

    acting = {"rows": 2, "temperature": 1.0, "continuous": "mean", "which": "best"}
    found = {"gato": of(gato), "expert": of(expert), "random": of([0.0, 0.0])}
    return json.dumps({"recipe": recipe, "task": task, "seeds": [7, 9], "acting": acting, **found}) + "\n"


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    path = tmp_path / "scores.jsonl"
    path.write_text(
        line("grid", "one", [1.0, 1.0], [1.0, 1.0])
        + line("grid", "two<b>", [0.0, 0.0], [1.0, 1.0])
        + line("arm", "three", [10.0, 50.0], [40.0, 40.0], successes=False)
        + line("arm", "four", [1.0, 1.0], [0.0, 0.0])
    )
    return path


def test_domains_and_tasks(scores: Path) -> None:
    found = read_scores(scores)
    assert [row[:3] for row in results.domain_rows(found)] == [
        ("grid", "2", "1 of 2"), ("arm", "2", "1 of 1"), ("all", "4", "2 of 3"),
    ]  # fmt: skip
    assert results.domain_rows(found)[0][4] == "0.5 [0.5, 0.5]"
    rows = results.task_rows(found)
    assert rows[0] == ("grid", "one", "0", "1", "1", "success", "1 [1, 1]")
    assert rows[2][:6] == ("arm", "three", "0", "40", "30", "return") and rows[2][6].startswith("0.75 [")
    assert rows[3][6] == "the expert is no better than chance"


def test_the_command_writes_both_pages(scores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": 3.5}\n{"step": 2, "loss": 2.5}\n{"step": 2, "x": 0}\n')
    row = {"count": 5, "model": 0.6, "interval": [0.2, 1.0], "most_frequent": 0.4, "which_is": "no"}
    (tmp_path / "answers.json").write_text(json.dumps({"questions": row}))
    text_row = {"documents": 3, "bytes": 2000, "model": 5.25, "grams": 3.5, "equal_chances": 6.0}
    (tmp_path / "text.json").write_text(json.dumps(text_row))
    point = {"level": "New-v0", "expert": {"successes": [1.0, 1.0]}, "random": {"successes": [0.0, 1.0]}}
    points = [
        point | {"demonstrations": number, "beginning": beginning, "gato": {"successes": successes}}
        for number, beginning, successes in (
            (0, "model", [0.0, 0.0]), (10, "model", [1.0, 1.0]), (10, "nothing", [0.0, 1.0])
        )
    ]  # fmt: skip
    (tmp_path / "transfer.jsonl").write_text("".join(json.dumps(one) + "\n" for one in points))
    tasks = [
        {"source": source, "task": source, **{who: {"returns": [0.0], "successes": [success]} for who, success in of}}
        for source, of in (
            ("one", [("expert", 1.0), ("random", 0.0), ("gato", 1.0)]),
            ("two", [("expert", 1.0), ("random", 0.5), ("gato", 0.25)]),
        )
    ]
    trainings = [
        {"lever": lever, "seed": seed, "held_out": {"discrete": 0.5 + seed, "continuous": 2.0}, "tasks": tasks}
        for lever, seed in (("no <b>", 0), ("base", 1), ("base", 0))
    ]
    (tmp_path / "ablations.jsonl").write_text("".join(json.dumps(one) + "\n" for one in trainings))
    strip = {
        "domain": "grid",
        "task": "two<b>",
        "seed": 7,
        "steps": 1,
        "return_": 0.5,
        "success": False,
        "file": "s.jpg",
    }
    (tmp_path / "filmstrips.json").write_text(json.dumps([strip]))
    (tmp_path / "s.jpg").write_bytes(b"picture")
    monkeypatch.setattr("sys.argv", ["results", str(run), str(scores), "--out", str(tmp_path / "out")])
    assert results.main() == 0
    text, page = ((tmp_path / "out" / name).read_text() for name in ("README.md", "index.html"))
    assert "4 tasks, 2 episodes of each on seeds from 7 on" in text and "| grid | 2 | 1 of 2 |" in text
    assert "recipes.scores RUN grid --out results/scores.jsonl --episodes 2 --temperature 1 --continuous mean" in text
    assert "| questions | 5 | 0.6 [0.2, 1] | 0.4 (no) |" in text
    assert "| 3 docstrings of Python's standard library | 2,000 | 5.25 | 3.5 | 6 |" in text
    assert "| New-v0 | 10 | nothing | 0.5 | 1 | 0.5 [0, 1] |" in text and "| New-v0 | 0 | model | 0.5 | 1 | 0" in text
    assert "score: one | score: two | mean score |" in text
    base = "| base | 1.00 [0.50, 1.50] | 2.00 [2.00, 2.00] | 1.00 [1.00, 1.00] | -0.50 [-0.50, -0.50] | 0.25 [0.25"
    assert base in text and text.index(base) < text.index("| no <b> | 0.50 [0.50] |")
    assert "python -m recipes.ablations --out results/ablations.jsonl" in text and "no <b>" not in page
    assert "two<b>, seed 7: 1 step, return 0.5, no success\n\n![two<b>, from left to right](../s.jpg)" in text
    assert page.count('src="data:image/jpeg;base64,cGljdHVyZQ=="') == 1
    assert page.count("<svg") == 4 and "two<b>" not in page and "two&lt;b&gt;" in page
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
