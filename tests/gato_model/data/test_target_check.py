"""Rows without targets: captions after pictures that fill a row, and tasks with little to predict."""

import contextlib
import functools
import json

import numpy as np
import pytest
from model_datasets import write_dataset
from PIL import Image

from gato_model.data import target_check
from gato_model.data.batches import batches
from gato_model.data.share import Share
from gato_tokenize import DiscreteSpec, Episode, EpisodeMetadata, EpisodeSpec, TextSpec
from pipelines.sources import SOURCES
from pipelines.sources.source import Candidate, Source


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
    assert (found.records, found.lost, found.patches, found.needed) == (4, 4, 16, 17)
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
    assert (found.records, found.suspects, found.lost, found.needed) == (5, 2, 2, 17)
    assert "about 2 of its 5 samples lose all their targets" in str(found)
    monkeypatch.setattr(target_check, "LOOKED_AT", 1)
    (found,) = lost(dataset, 16)
    assert (found.looked_at, found.lost) == (1, 1)
    assert "about 2 of its 5" in str(found)
    assert "(1 of the 2 that may be at fault were read)" in str(found)


class TalkSource(Source):
    """`talk:KIND`: six episodes of two timesteps, or six documents, of a kind in SPECS."""

    SPECS = {
        "asked": EpisodeSpec({"prompt": TextSpec(predict=False), "answer": TextSpec()}, timesteps=False),
        "told": EpisodeSpec({"prompt": TextSpec(predict=False)}, timesteps=False),
        "watched": EpisodeSpec({"seen": DiscreteSpec(9, 5)}),
        "spoken": EpisodeSpec({"seen": DiscreteSpec(9, 5)}, TextSpec()),
        "acted": EpisodeSpec({"seen": DiscreteSpec(9, 5)}, DiscreteSpec(2)),
    }

    def __init__(self, argument, options):
        self.kind = argument

    def specs(self):
        return {self.kind: self.SPECS[self.kind]}

    def inputs(self):
        return [{"uri": f"talk:{self.kind}", "versions": {}}]

    def partitions(self):
        return [{"start": 0}]

    def candidates(self, partition):
        for number in range(6):
            yield Candidate(f"{number}", self.kind, number, functools.partial(self.episode, number))

    def episode(self, number):
        spec, metadata = self.SPECS[self.kind], EpisodeMetadata(str(number), "talk", self.kind)
        if not spec.timesteps:
            texts = {"prompt": ["go " * 30], "answer": ["left"]}
            return Episode(spec, {key: texts[key] for key in spec.observation}, metadata=metadata)
        action = {"watched": {}, "spoken": ["", "left"] if number else ["", ""], "acted": [0, 1]}[self.kind]
        return Episode(spec, {"seen": np.ones((2, 5), int)}, action, metadata)


@pytest.mark.parametrize(("kind", "length", "outcome"), [
    ("asked", 64, None),
    ("asked", 16, "about 6 of its 6 documents may lose all their targets in rows of 16 tokens, because as many tokens"),
    ("told", 64, "none of its 6 documents keeps a target in rows of 64 tokens, because they hold no token that is"),
    ("watched", 64, "none of its 6 records keeps a target in rows of 64 tokens, because they hold no token that is"),
    ("spoken", 64, "about 1 of its 6 records may lose all their targets"),
    ("acted", 16, None),
])  # fmt: skip
def test_whatever_the_task(tmp_path, monkeypatch, kind, length, outcome):
    """What is said is true of the rows of the batches."""
    monkeypatch.setitem(SOURCES, "talk", f"{__name__}:TalkSource")
    dataset = write_dataset(tmp_path / kind / "1.0.0", [f"talk:{kind}"])
    found = lost(dataset, length)
    assert [str(one).partition("': ")[2][: len(outcome)] for one in found] == ([outcome] if outcome else [])
    masks = np.concatenate([batches([dataset], 8, length).batch(step)["target_mask"] for step in range(4)])
    empty = ~masks.any(axis=1)
    if not found:
        assert not empty.any()
    elif found[0].all_lost:
        assert empty.all() and "--sequence-length" not in str(found[0])
    elif kind == "asked":
        assert empty.any() and lost(dataset, found[0].needed) == []


def test_the_end_of_the_shortest_document_is_a_target(tmp_path, monkeypatch):
    (tmp_path / "a.jsonl").write_text('{"text": "go"}\n{"text": "go to"}\n')
    monkeypatch.chdir(tmp_path)
    dataset = write_dataset(tmp_path / "words" / "1.0.0", ["text:a.jsonl"])
    assert lost(dataset, 16) == []


@pytest.mark.parametrize("step", [0, 5, 130])
def test_rows_of_shares_are_those_of_the_batches(tmp_path, step):
    shares = [captions(tmp_path / name, [32] * 3) for name in "ab"]
    reader = batches([Share(str(shares[0]), 2.0), Share(str(shares[1]))], 3, 32)
    counted = np.bincount(reader.batch(step)["dataset"], minlength=2)
    assert reader.rows_of_shares(step).tolist() == counted.tolist()
