"""Annotation files in the layouts of COCO and VQA, with their folders of pictures."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CAPTIONS = [(5, "A cat."), (3, "A dog."), (5, "The cat."), (3, "Two dogs."), (8, "A car."), (5, "Cats!")]
QUESTIONS = [(5, "What is it?", ["cat"] * 10), (3, "How many?", ["2"] * 6 + ["1"] * 4), (3, "Red?", ["yes", "no"] * 5)]


def picture_file(seed: int, form: str = "JPEG", side: int = 16) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def write_pictures(folder: Path, names: dict[int, str], side: int = 16) -> None:
    """Write a picture of each number by its name."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in names.items():
        (folder / name).write_bytes(picture_file(number, side=side))


def write_captions(
    folder: Path,
    captions: Sequence[tuple[int, str]] = CAPTIONS,
    part: str = "val2017",
    images: Sequence[int] = (3, 5, 8, 9),
    side: int = 16,
    **more: Any,
) -> Path:
    """Write `annotations/captions_PART.json` and the pictures of PART below a folder. Annotation i has the id 100 + i.
    more: other values of the keys of the JSON."""
    names = {number: f"{number:012d}.jpg" for number in images}
    write_pictures(folder / part, names, side)
    content = {
        "info": {"year": 2017, "nested": {"a": [1, {"b": 2}]}},
        "licenses": [{"id": 1, "name": "a } and a { in a name"}],
        "images": [{"license": 1, "file_name": name, "height": side, "id": number} for number, name in names.items()],
        "annotations": [{"image_id": n, "id": 100 + i, "caption": text} for i, (n, text) in enumerate(captions)],
        **more,
    }
    path = folder / "annotations" / f"captions_{part}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def write_questions(
    folder: Path,
    asked: Sequence[tuple[int, str, list[str]]] = QUESTIONS,
    part: str = "train2014",
    version: str = "v2_",
    names: str = "COCO_train2014_{:012d}.jpg",
    order: Sequence[int] | None = None,
) -> Path:
    """Write the questions and their answers in VQA's two files, and the pictures of `part`; returns the questions'.
    Question i has the id 1000 + i. order: that of the annotations."""
    write_pictures(folder / part, {number: names.format(number) for number, _, _ in asked})
    questions = [
        {"image_id": number, "question": text, "question_id": 1000 + i} for i, (number, text, _) in enumerate(asked)
    ]
    annotations = [
        {
            "question_type": "what",
            "multiple_choice_answer": max(answers, key=answers.count),
            "answers": [
                {"answer": answer, "answer_confidence": "yes", "answer_id": k + 1} for k, answer in enumerate(answers)
            ],
            "image_id": number,
            "answer_type": "other",
            "question_id": 1000 + i,
        }
        for i, (number, _, answers) in enumerate(asked)
    ]
    head = {"info": {}, "data_type": "mscoco", "data_subtype": part, "license": {"name": ""}}
    path = folder / f"{version}OpenEnded_mscoco_{part}_questions.json"
    path.write_text(json.dumps({**head, "task_type": "Open-Ended", "questions": questions}))
    chosen = [annotations[i] for i in order] if order is not None else annotations
    answers_path(path).write_text(json.dumps({**head, "annotations": chosen}))
    return path


def answers_path(questions: Path) -> Path:
    name = questions.name.replace("OpenEnded_", "").replace("_questions", "_annotations")
    return questions.with_name(name)


def changed(path: Path, key: str, number: int | None, **values: Any) -> Path:
    """Change keys of one member of an array in a file; None removes a key. Without a number, add a member."""
    content = json.loads(path.read_text())
    if number is None:
        content[key].append(values)
    else:
        entry = {**content[key][number], **values}
        content[key][number] = {name: value for name, value in entry.items() if value is not None}
    path.write_text(json.dumps(content))
    return path
