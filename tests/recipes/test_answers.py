"""Answers and captions: what is judged right, and what the baselines are."""

import json
from pathlib import Path

import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("easy_vqa")
import easy_vqa

from recipes import answers


class Knowing:
    """A generator that knows the test set: what it is asked decides what it says."""

    def __init__(self) -> None:
        questions, right, pictures = easy_vqa.get_test_questions()
        files = {number: Path(path).read_bytes() for number, path in easy_vqa.get_test_image_paths().items()}
        self.right = {
            (files[number], question): answer
            for question, answer, number in zip(questions, right, pictures, strict=True)
        }
        told = answers.captions_of(questions, right, pictures)
        self.captions = {files[number]: caption for number, caption in told.items()}

    def answer(self, image: bytes, question: str, most: int) -> str:
        return self.right[image, question]

    def caption(self, image: bytes, most: int) -> str:
        return self.captions[image]


def test_who_knows_all_is_right_and_the_most_frequent_is_not() -> None:
    found = answers.measure(Knowing(), 300, 100)  # type: ignore[arg-type]
    assert found["questions"]["model"] == found["captions"]["model"] == 1.0
    assert found["questions"]["count"] == 300 and found["captions"]["count"] == 100
    assert 0.2 < found["questions"]["most_frequent"] < 0.6 and found["questions"]["which_is"] == "yes"
    assert 0.3 < found["captions"]["most_frequent"] < 0.8
    assert found["captions"]["which_is"].startswith("a ")


def test_the_command_writes_what_it_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(answers.Generator, "from_pretrained", classmethod(lambda cls, run, which: Knowing()))
    out = tmp_path / "results/answers.json"
    words = ["answers", "run", "--out", str(out), "--questions", "5", "--captions", "3"]
    monkeypatch.setattr("sys.argv", words)
    assert answers.main() == 0
    assert json.loads(out.read_text())["captions"]["count"] == 3
    assert "questions: 1.000 of 5; the most frequent, 'yes'" in capsys.readouterr().out
