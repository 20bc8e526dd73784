"""Captions after pictures that fill a row: none keeps a target, some do, all do."""

import contextlib
import json

import numpy as np
import pytest
from model_datasets import write_dataset
from PIL import Image

from gato_model.data import target_check
from gato_model.data.batches import batches
from gato_model.data.share import Share


def captions(folder, sides):
    """Write a dataset of captioned pictures, squares of these sides; (side / 16)^2 patches each."""
    folder.mkdir(parents=True)
    lines = []
    for number, side in enumerate(sides):
        Image.fromarray(np.full((side, side, 3), 9 * number, np.uint8)).save(folder / f"{number}.png")
        lines.append(json.dumps({"image": f"{number}.png", "caption": f"a picture, number {number}"}))
    (folder / "pairs.jsonl").write_text("\n".join(lines) + "\n")
    with contextlib.chdir(folder):
        return write_dataset(folder / "pictures" / "1.0.0", ["image-text:pairs.jsonl"])


def lost(dataset, length):
    return batches([dataset], 2, length).lost_targets()


def test_pictures_that_fill_the_row(tmp_path):
    dataset = captions(tmp_path / "a", [64] * 4)
    (found,) = lost(dataset, 16)
    assert found.all_lost
    assert (found.samples, found.lost, found.patches, found.needed) == (4, 4, 16, 17)
    assert not batches(str(dataset), 2, 16).batch(0)["target_mask"].any()
    for word in (
        found.task,
        "none of its 4",
        "rows of 16 tokens",
        "16 image patches",
        "--sequence-length 17",
        "resize",
    ):
        assert word in str(found)
    assert lost(dataset, 17) == []  # the cure that was named
    assert batches(str(dataset), 2, 17).batch(0)["target_mask"].any()


def test_some_pictures_are_counted(tmp_path, monkeypatch):
    dataset = captions(tmp_path / "a", [64, 32, 64, 32, 32])
    (found,) = lost(dataset, 16)
    assert not found.all_lost
    assert (found.samples, found.longer, found.lost, found.needed) == (5, 2, 2, 17)
    assert "about 2 of its 5 samples lose all their targets" in str(found)
    monkeypatch.setattr(target_check, "LOOKED_AT", 1)
    (found,) = lost(dataset, 16)
    assert (found.looked_at, found.lost) == (1, 1)
    assert "about 2 of its 5" in str(found)
    assert "(1 of the 2 longer ones read)" in str(found)


@pytest.mark.parametrize("step", [0, 5, 130])
def test_rows_of_shares_are_those_of_the_batches(tmp_path, step):
    shares = [captions(tmp_path / name, [32] * 3) for name in "ab"]
    reader = batches([Share(str(shares[0]), 2.0), Share(str(shares[1]))], 3, 32)
    counted = np.bincount(reader.batch(step)["dataset"], minlength=2)
    assert reader.rows_of_shares(step).tolist() == counted.tolist()
