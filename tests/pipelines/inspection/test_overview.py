"""The overview fits a terminal: as wide tables where there is room, else with the task above its rows."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from gato_tokenize import Dataset
from pipelines.inspection.overview import overview

DATA = Path(__file__).parents[2] / "data"


def lines(dataset: Dataset, width: int) -> list[str]:
    out = io.StringIO()
    overview(dataset, Console(file=out, width=width))
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.fixture(scope="module")
def golden() -> Dataset:
    return Dataset.open(max(manifest.parent for manifest in DATA.glob("golden/**/manifest.json")))


def test_a_narrow_terminal_shows_names_whole(golden: Dataset) -> None:
    shown = lines(golden, 80)
    assert max(map(len, shown)) <= 80
    headed = [(split, task) for split, by_task in golden.stats.items() for task in by_task]
    assert headed and all(shown.count(f"{task}, {split}") >= 2 for split, task in headed)
    for split, task in headed:
        for path in golden.stats[split][task]["fields"]:
            assert any(line.split("│")[0].strip() == path for line in shown), path


def test_a_wide_terminal_shows_one_table_of_tasks(golden: Dataset) -> None:
    shown = lines(golden, 200)
    heads = [line for line in shown if "┃" in line]
    assert len(heads) == len(set(heads)) and all(line.startswith(" task ") for line in heads)
    assert {line.split("│")[0].strip() for line in shown if "│" in line} == set(golden.tokenizer.specs)
