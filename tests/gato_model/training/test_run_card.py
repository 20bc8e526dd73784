"""The card of a run: README.md, made of what its files say."""

import json
from pathlib import Path

import pytest
import toy_acting  # noqa: F401 - quiets TensorFlow

from gato_model.training import run_card
from gato_model.training.run_card import MOST_ROWS, write_run_card

RUN = {
    "batch_size": 4, "steps": 100, "seed": 0, "fine_tune": "", "config": {"width": 32},
    "optimizer": {"learning_rate": 1e-3, "clip_norm": None},
    "data": [{"manifest_sha256": "ab" * 32, "weight": 3.0, "min_expert_share": 0.0},
             {"manifest_sha256": "cd" * 32, "weight": 1.0, "min_expert_share": None}],
    "made_by": {"command": ["/x/gato-model", "train", "--out", "a b"], "versions": {"python": "3.11.7"},
                "data": [{"dataset": "toy", "version": "1.0.0"}, {"dataset": "a|b", "version": "1.0.1"}]},
}  # fmt: skip


def card(folder: Path, run=RUN, metrics=(), done=7, best=None, monkeypatch=None):
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "config.json").write_text(json.dumps({"width": 32, "sequence_length": 64}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics))
    monkeypatch.setattr(run_card, "best_step", lambda folder: best)
    write_run_card(folder, done, 1234)
    return (folder / "README.md").read_text().splitlines()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "first").mkdir()
    return tmp_path / "first"


def test_a_card_by_hand(folder, monkeypatch):
    metrics = [
        {"step": 1, "loss": 5.0, "accuracy": 0.25, "learning_rate": 1e-3},
        {"step": 5, "loss": 4.0, "accuracy": 0.5},
        {"step": 5, "held_out/loss": 4.5, "held_out/accuracy": 0.125},
        {"step": 6, "learning_rate": 1e-3},  # no token was predicted
        {"step": 8, "loss": 1.0, "accuracy": 1.0},  # after the checkpoint
    ]
    lines = card(folder, metrics=metrics, best=5, monkeypatch=monkeypatch)
    assert lines == [
        *("# first", ""),
        *("A model of 1,234 parameters, trained for 7 of 100 steps of 4 sequences of 64 tokens.", ""),
        *("## Data", "", "| dataset | of the rows | least part of the expert's return | manifest's sha256 |"),
        *("| --- | --- | --- | --- |", f"| toy 1.0.0 | 75.0% | 0.0 | {'ab' * 32} |"),
        *(f"| a\\|b 1.0.1 | 25.0% |  | {'cd' * 32} |", ""),
        *("## Losses", "", "| step | loss | accuracy | held-out loss | held-out accuracy |"),
        *(
            "| --- | --- | --- | --- | --- |",
            "| 1 | 5.0000 | 0.2500 |  |  |",
            "| 5 | 4.0000 | 0.5000 | 4.5000 | 0.1250 |",
        ),
        *("", "The checkpoint with the lowest held-out loss is that of step 5."),
        *("`metrics.jsonl` has every logged step.", ""),
        *("## Settings", "", "| setting | value |", "| --- | --- |", "| batch_size | 4 |", "| learning_rate | 0.001 |"),
        *("| seed | 0 |", "| steps | 100 |", "| sequence_length | 64 |", "| width | 32 |", ""),
        *("## How it was made", "", "```sh", "gato-model train --out 'a b'", "```", "", "It began with python 3.11.7."),
    ]


def test_a_run_of_an_older_release_and_without_a_loss(folder, monkeypatch):
    old = {key: value for key, value in RUN.items() if key != "made_by"}
    lines = card(folder, run=old, done=0, monkeypatch=monkeypatch)
    assert f"| 75.0% | 0.0 | {'ab' * 32} |" in lines
    assert not {"## Losses", "## How it was made"} & set(lines)


def test_few_of_many_losses_from_the_first_to_the_last(folder, monkeypatch):
    metrics = [{"step": number, "loss": 1.0, "accuracy": 0.0} for number in range(1, 1001)]
    lines = card(folder, metrics=metrics, done=1000, monkeypatch=monkeypatch)
    rows = [line.split(" | ")[0] for line in lines if line.endswith("| 1.0000 | 0.0000 |")]
    assert len(rows) == MOST_ROWS and (rows[0], rows[-1]) == ("| 1", "| 1,000")
