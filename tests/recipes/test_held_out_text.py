"""Held-out text: the 5-grams by hand, and the bits of the model against its own logits."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from gato_model.acting.pretrained import load_model
from gato_tokenize.sequence import NO_POSITION
from recipes import held_out_text
from recipes.held_out_text import NGrams, bits_of_model, held_out


def test_chances_by_hand() -> None:
    grams = NGrams([[1, 2, 1, 3]], 4, order=2)
    alone = [(count + 3 / 4) / (4 + 3) for count in (0, 2, 1, 1)]
    assert [grams.chance(piece, []) for piece in range(4)] == pytest.approx(alone)
    assert grams.chance(2, [0, 1]) == pytest.approx((1 + 2 * alone[2]) / (2 + 2))
    assert grams.chance(2, [3]) == pytest.approx(alone[2])  # nothing ever followed a 3
    assert grams.bits([1, 2]) == pytest.approx(-math.log2(grams.chance(2, [1])))


@pytest.mark.parametrize("before", [[], [5], [7, 5], [1, 2, 3, 4], [9, 9, 9]])
def test_the_chances_of_all_pieces_are_one(before: list[int]) -> None:
    grams = NGrams([[1, 2, 3, 4, 5, 6], [7, 5, 6, 1, 2, 3, 8], [5]], 10, order=5)
    assert sum(grams.chance(piece, before) for piece in range(10)) == pytest.approx(1)


def test_the_models_bits_are_those_of_its_logits() -> None:
    """Of rows of 8 pieces, each but the first begins with the last piece of the one before."""
    model = load_model("demo")
    documents = [list(range(40, 60)), [5, 6], [300], list(range(40, 48))]
    expected = []
    for pieces in documents:
        bits = 0.0
        for start in range(0, max(1, len(pieces) - 1), 7):
            part = np.array([pieces[start : start + 8]], np.int32)
            inputs = {
                "tokens": part,
                "local_positions": np.full_like(part, NO_POSITION),
                "segments": np.ones_like(part),
            }
            logits = np.asarray(model(inputs))[0].astype(np.float64)
            logits -= logits.max(1, keepdims=True)
            chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
            bits -= sum(math.log2(chances[at, part[0, at + 1]]) for at in range(part.shape[1] - 1))
        expected.append(bits)
    assert bits_of_model(model, documents, length=8) == pytest.approx(expected, rel=1e-4)


def test_the_command_writes_what_it_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "text.json"
    monkeypatch.setattr("sys.argv", ["held_out_text", "demo", "--out", str(out), "--documents", "3"])
    assert held_out_text.main() == 0
    found = json.loads(out.read_text())
    assert found["documents"] == 3 and found["bytes"] == sum(
        len(text.encode()) for text in itertools.islice(held_out(), 3)
    )
    assert 0 < found["grams"] < found["equal_chances"] and 0 < found["model"] < found["equal_chances"]
