"""The files that some recipes read: text and pictures which installed packages ship, written to a folder.

python -m recipes.inputs corpus/inputs
"""

import json
import pydoc_data.topics
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def topics() -> list[tuple[str, str]]:
    """Return CPython's documentation of its language: (name, text) of each topic, in the order of names."""
    return sorted(pydoc_data.topics.topics.items())


def write_topics(folder: Path) -> None:
    """Write these topics, a document each, to python-topics.jsonl."""
    _write(folder / "python-topics.jsonl", ({"id": name, "text": text} for name, text in topics()))


def captions_of(questions: Sequence[str], answers: Sequence[str], pictures: Sequence[int]) -> dict[int, str]:
    """{picture: its caption}, in the order of pictures, from what its questions tell of shape and colour."""
    told: dict[int, dict[str, str]] = {}
    for question, answer, picture in zip(questions, answers, pictures, strict=True):
        if question.startswith("what"):
            told.setdefault(picture, {})["colour" if "color" in question else "shape"] = answer
    return {number: f"a {of['colour']} {of['shape']}" for number, of in sorted(told.items()) if len(of) == 2}


def write_shapes(folder: Path) -> None:
    """Write the pictures of easy-vqa, their training questions and a caption for each, to shapes.jsonl.

    A picture shows one shape. What its questions tell of shape and colour is its caption: "a red circle".
    """
    import easy_vqa

    pictures = folder / "shapes"
    pictures.mkdir(parents=True, exist_ok=True)
    asked = easy_vqa.get_train_questions()
    lines: list[dict[str, Any]] = [
        {"id": f"question-{at}", "image": f"shapes/{number}.png", "question": question, "answer": answer}
        for at, (question, answer, number) in enumerate(zip(*asked, strict=True))
    ]
    captions = captions_of(*asked)
    for number, path in sorted(easy_vqa.get_train_image_paths().items()):
        shutil.copyfile(path, pictures / f"{number}.png")
        if number in captions:
            lines.append({"id": f"caption-{number}", "image": f"shapes/{number}.png", "caption": captions[number]})
    _write(folder / "shapes.jsonl", lines)


def _write(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_topics(folder)
    write_shapes(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
