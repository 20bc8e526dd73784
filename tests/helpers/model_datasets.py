"""Small real datasets of every kind, made once for the tests of the model's reading side."""

import contextlib
import io
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipelines.conversion.convert import convert
from pipelines.conversion.plan import make_plan
from pipelines.conversion.reject_budget import RejectBudget
from pipelines.conversion.write_partition import write_here
from pipelines.sources import open_source

WORDS = "red blue green ball box key door go to pick up open the a next behind left right".split()


def write_dataset(folder: Path, sources: list[str], **settings: Any) -> Path:
    """Convert in this process: `folder` is .../NAME/VERSION."""
    open_source.cache_clear()
    plan, tokenizer = make_plan(sources, folder, **settings)
    convert(plan, tokenizer, folder, RejectBudget("0"), write_here)
    return folder


def write_all(folder: Path) -> dict[str, Path]:
    """Return {name: dataset}: symbolic and rgb grids of two agents, a lander, documents, pictures with texts.

    Episodes of `rgb` and `lander` are cut into several records.
    """
    (folder / "sources").mkdir()
    with contextlib.chdir(folder / "sources"):
        local = "rollouts:BabyAI-GoToLocal-v0?episodes="
        made: dict[str, tuple[list[str], dict[str, Any]]] = {
            "symbolic": ([local + "14", local + "7&policy=random&max_steps=9&seed=50"], {}),
            "rgb": ([local + "10&image=rgb", local + "4&image=rgb&policy=random&max_steps=9"], {"max_tokens": 90}),
            "lander": (["rollouts:LunarLander-v3?continuous=true&episodes=5"], {"max_tokens": 700}),
            "documents": ([write_documents()], {}),
            "pictures": ([write_questions(), write_captions()], {}),
        }
        return {name: write_dataset(folder / name / "1.0.0", of, **settings) for name, (of, settings) in made.items()}


def write_dataset_of_documents(folder: Path, count: int, words: int, seed: int = 0) -> Path:
    """Write documents of `words` words each."""
    folder.mkdir(parents=True)
    with contextlib.chdir(folder):
        return write_dataset(folder / "texts" / "1.0.0", [write_documents(count, (words, words), seed)])


def write_documents(count: int = 30, words: tuple[int, int] = (1, 500), seed: int = 0) -> str:
    generator = random.Random(seed)
    texts = [" ".join(generator.choices(WORDS, k=generator.randint(*words))) for _ in range(count)]
    Path("documents.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return "text:documents.jsonl"


def write_questions(count: int = 30) -> str:
    """Write easy-vqa's pictures of 64 x 64, kept as their own PNG files, and questions about them."""
    import easy_vqa

    paths = easy_vqa.get_train_image_paths()
    lines = []
    for question, answer, image in list(zip(*easy_vqa.get_train_questions(), strict=True))[:count]:
        shutil.copyfile(paths[image], f"{image}.png")
        lines.append({"image": f"{image}.png", "question": question, "answer": answer})
    Path("questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return "image-text:questions.jsonl"


def write_captions(count: int = 9) -> str:
    """Write noise of several sizes, as JPEG, and as PNG that must be resized, so that its patches are kept."""
    generator = np.random.default_rng(0)
    lines = []
    for number in range(count):
        size = [(32, 48), (16, 64), (50, 20)][number % 3]
        name = f"noise-{number}.{'png' if number % 3 == 2 else 'jpg'}"
        out = io.BytesIO()
        Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)).save(
            out, name[-3:].replace("jpg", "jpeg")
        )
        Path(name).write_bytes(out.getvalue())
        lines.append({"image": name, "caption": f"noise number {number}"})
    Path("captions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return "image-text:captions.jsonl"


def flip(path: Path, at: int) -> None:
    """Damage one byte of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 0x40
    os.chmod(path, 0o644)
    path.write_bytes(data)
