"""Ask a trained model the test questions of easy-vqa, and have it caption its test pictures, which no recipe reads.

    python -m recipes.answers RUN --out results/answers.json [--questions 500] [--captions 200]

A right answer is the very word. A caption is judged by token F1 against the only right one, "a red circle". Beside the
model stand the answer and the caption that are the most frequent in training, given to everything.
"""

import argparse
import collections
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_model.acting.generator import Generator
from gato_model.evaluation.scores import mean_interval
from recipes.inputs import captions_of

WORDS = 8  # tokens of an answer or a caption at most


def token_f1(said: str, right: str) -> float:
    """The harmonic mean of precision and recall of a caption's words, each as often as it stands there.

    >>> token_f1("a red circle", "a red circle"), token_f1("red", "a red circle"), token_f1("", "a red circle")
    (1.0, 0.5, 0.0)
    """
    words = [collections.Counter(re.findall(r"\w+", text.lower())) for text in (said, right)]
    both = sum((words[0] & words[1]).values())
    return 2 * both / sum(sum(one.values()) for one in words)


def most_frequent(texts: Iterable[str]) -> str:
    """The most frequent text, of equals the first."""
    return collections.Counter(texts).most_common(1)[0][0]


def measure(generator: Generator, questions: int, captions: int, seed: int = 0) -> dict[str, Any]:
    """Ask so many test questions and caption so many test pictures, drawn by the seed."""
    import easy_vqa

    train, test = easy_vqa.get_train_questions(), easy_vqa.get_test_questions()
    files = {number: Path(path).read_bytes() for number, path in easy_vqa.get_test_image_paths().items()}
    draw = np.random.default_rng(seed)
    usual = most_frequent(train[1])
    asked = [tuple(column[i] for column in test) for i in _some(draw, len(test[0]), questions)]
    right = [(generator.answer(files[number], question, WORDS), answer) for question, answer, number in asked]
    captions_there = list(captions_of(*test).items())
    usual_caption = most_frequent(captions_of(*train).values())
    shown = [captions_there[i] for i in _some(draw, len(captions_there), captions)]
    said = [(generator.caption(files[number], WORDS), caption) for number, caption in shown]
    return {
        "questions": _measured([float(a == b) for a, b in right], [float(usual == b) for _, b in right], usual),
        "captions": _measured([token_f1(a, b) for a, b in said], [token_f1(usual_caption, b) for _, b in said],
                              usual_caption),
    }  # fmt: skip


def _some(draw: np.random.Generator, count: int, wanted: int) -> NDArray[np.int64]:
    return np.sort(draw.permutation(count)[:wanted])


def _measured(model: list[float], usual: list[float], which: str) -> dict[str, Any]:
    found = mean_interval(model)
    return {
        "count": len(model),
        "model": found.mean,
        "interval": [found.low, found.high],
        "most_frequent": float(np.mean(usual)),
        "which_is": which,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m recipes.answers", description=__doc__)
    parser.add_argument("run", type=Path, help="a training run's folder, or an export")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the measures as JSON")
    parser.add_argument("--questions", type=int, default=500, metavar="N", help="(default 500)")
    parser.add_argument("--captions", type=int, default=200, metavar="N", help="(default 200)")
    parser.add_argument("--which", choices=("best", "last"), default="best")
    arguments = parser.parse_args()
    found = measure(Generator.from_pretrained(arguments.run, arguments.which), arguments.questions, arguments.captions)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for name, row in found.items():
        print(f"{name}: {row['model']:.3f} of {row['count']}; the most frequent, {row['which_is']!r}: "
              f"{row['most_frequent']:.3f}")  # fmt: skip
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
