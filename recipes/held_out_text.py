"""Measure how well a trained model predicts text that no recipe reads, in bits per byte, beside a 5-gram model.

    python -m recipes.held_out_text RUN --out results/text.json [--documents 100]

The text is the docstrings of the modules of Python's standard library, of the interpreter that runs this. Both models
predict it piece by piece, in the pieces of the run's text model, and are given the first piece of each document; the
5-grams are those of the text that the recipe `text` reads.
"""

import argparse
import ast
import collections
import itertools
import json
import math
import sysconfig
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gato_model.acting.pretrained import load_model
from gato_model.data.packing import Placed, pack
from gato_model.data.windows import Window
from gato_model.network.model import Gato
from gato_model.shipped import model_path
from gato_tokenize import TextTokenizer
from gato_tokenize.modalities.image import PATCH
from gato_tokenize.storage.dataset import DatasetTokenizer
from gato_tokenize.vocabulary import Kind
from recipes.inputs import topics

LENGTH = 256  # tokens of a row, as in training
ROWS = 16  # rows of a batch
ORDER = 5


def held_out(least: int = 200) -> Iterator[str]:
    """Yield the docstring of each module of the standard library, in the order of names, if it has `least` bytes."""
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            text = ast.get_docstring(ast.parse(path.read_bytes()))
        if text and len(text.encode()) >= least:
            yield text


class NGrams:
    """n-grams of pieces, interpolated by Witten and Bell's rule down to equal chances of all pieces.

    documents: lists of pieces
    vocabulary: the number of pieces
    order: n, the number of pieces of an n-gram
    """

    def __init__(self, documents: Iterable[Sequence[int]], vocabulary: int, order: int = ORDER) -> None:
        self.vocabulary, self.order = vocabulary, order
        self._after: dict[tuple[int, ...], collections.Counter[int]] = collections.defaultdict(collections.Counter)
        for pieces in documents:
            for at, piece in enumerate(pieces):
                for known in range(min(at, order - 1) + 1):
                    self._after[tuple(pieces[at - known : at])][piece] += 1

    def chance(self, piece: int, before: Sequence[int]) -> float:
        """Compute the probability of a piece, given those before it, of which the last n - 1 count."""
        found = 1 / self.vocabulary
        for known in range(min(len(before), self.order - 1) + 1):
            after = self._after.get(tuple(before[len(before) - known :]))
            if after is None:
                break
            total = after.total()
            found = (after[piece] + len(after) * found) / (total + len(after))
        return found

    def bits(self, pieces: Sequence[int]) -> float:
        """Compute the bits of all pieces of a document but the first."""
        return -sum(
            math.log2(self.chance(pieces[at], pieces[max(0, at - self.order + 1) : at])) for at in range(1, len(pieces))
        )


def bits_of_model(model: Gato, documents: Sequence[Sequence[int]], length: int = LENGTH) -> list[float]:
    """Compute the bits of all pieces of each document but the first. A document is cut into rows of `length` pieces,
    each of which begins with the last piece of the row before it and sees nothing else of that row."""
    parts = [
        (number, pieces[start : start + length])
        for number, pieces in enumerate(documents)
        for start in range(0, max(1, len(pieces) - 1), length - 1)
    ]
    bits = [0.0] * len(documents)
    for first in range(0, len(parts), ROWS):
        chosen = parts[first : first + ROWS]
        placed = [Placed(row, 1, _window(part)) for row, (_, part) in enumerate(chosen)]
        losses = model.losses(pack(placed, ROWS, length, model.config.quantization))
        told = np.asarray(losses.cross_entropy * losses.weight) / math.log(2)
        ends = np.cumsum([len(part) - 1 for _, part in chosen])
        for (number, _), own in zip(chosen, np.split(told[: ends[-1]], ends[:-1]), strict=True):
            bits[number] += float(own.sum())
    return bits


def _window(pieces: Sequence[int]) -> Window:
    count, none = len(pieces), np.zeros((0, PATCH, PATCH, 3), np.uint8)
    kinds, mask = np.full(count, Kind.TEXT, np.uint8), np.ones(count, np.uint8)
    return Window(np.array(pieces, np.int32), kinds, mask, np.array([0, count]), none, np.zeros((0, 2), np.int32))


def measure(model: Gato, text: TextTokenizer, documents: int) -> dict[str, Any]:
    """Predict the first documents of the held-out text: bits per byte of the model, of 5-grams of the text
    that the recipe `text` reads, and of equal chances of all pieces."""
    chosen = list(itertools.islice(held_out(), documents))
    pieces, size = [_pieces(text, document) for document in chosen], sum(len(one.encode()) for one in chosen)
    grams = NGrams((_pieces(text, document) for _, document in topics()), text.vocabulary_size)
    told = sum(len(one) - 1 for one in pieces)
    return {
        "documents": len(chosen),
        "bytes": size,
        "model": sum(bits_of_model(model, pieces)) / size,
        "grams": sum(map(grams.bits, pieces)) / size,
        "equal_chances": told * math.log2(text.vocabulary_size) / size,
    }


def _pieces(text: TextTokenizer, document: str) -> list[int]:
    return [*text.encode(document).tolist(), text.end_id]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m recipes.held_out_text", description=__doc__)
    parser.add_argument("run", type=Path, help="a training run's folder, or an export")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the measures as JSON")
    parser.add_argument("--documents", type=int, default=100, metavar="N", help="(default 100)")
    parser.add_argument("--which", choices=("best", "last"), default="best")
    arguments = parser.parse_args()
    model = load_model(arguments.run, arguments.which)
    text = DatasetTokenizer.load(model_path(arguments.run)).text or TextTokenizer()
    found = measure(model, text, arguments.documents)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"{found['model']:.3f} bits a byte in {found['documents']} documents of {found['bytes']:,} bytes; by"
          f" {ORDER}-grams {found['grams']:.3f}, by equal chances {found['equal_chances']:.3f}")  # fmt: skip
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
