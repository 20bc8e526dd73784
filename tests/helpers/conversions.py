"""Small inputs, the commands that convert them, and a look at the results."""

import gzip
import hashlib
import io
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gato_tokenize import train_text_model
from pipelines.__main__ import main
from pipelines.inspection.verify import verify
from pipelines.sources import open_source

HERE = Path(__file__).parent
WORDS = "the quick brown fox jumps over a lazy dog; grüße, 你好, नमस्ते\u2028".split(" ")


def write_documents(count: int = 60, files: int = 3) -> str:
    generator = random.Random(0)
    for number in range(files):
        lines = [json.dumps({"text": " ".join(generator.choices(WORDS, k=20))}) for _ in range(count // files)]
        write_lines(f"docs-{number}.jsonl.gz", lines)
    return "text:docs-*.jsonl.gz"


def write_lines(path: str, lines: list[str]) -> None:
    """Write a compressed file of lines, which is always a partition of its own."""
    Path(path).write_bytes(gzip.compress("".join(line + "\n" for line in lines).encode(), mtime=0))


def png(seed: int = 0, size: tuple[int, int] = (32, 48)) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(out, "PNG")
    return out.getvalue()


def write_pictures(count: int = 6) -> str:
    lines = []
    for number in range(count):
        Path(f"{number}.png").write_bytes(png(number))
        lines.append({"image": f"{number}.png", "caption": f"noise number {number}"})
    Path("pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return "image-text:pairs.jsonl"


def small_model() -> list[str]:
    """Return the options for a text model of a few KB: the shipped one would be nearly all that is written."""
    Path("corpus.txt").write_text("the quick brown fox jumps over a lazy dog\n" * 50)
    train_text_model([Path("corpus.txt")], Path("small.model"), vocabulary_size=300)
    return ["--text-model", "small.model"]


def everything() -> list[str]:
    """Return sources and options that make every kind of file: two splits, four partitions, pictures, a reject."""
    documents = write_documents(120)
    lines = [json.dumps({"text": "a lazy dog " * 2000}) for _ in range(2)]  # a shard of several pages
    write_lines("docs-1.jsonl.gz", [*lines, "broken"])
    return [documents, write_pictures(3), "--validation-fraction", "0.3", "--max-rejects", "1", *small_model()]


def convert(*words: str, out: str = "out/toy/1.0.0") -> int:
    open_source.cache_clear()
    return main(["convert", *words, "--out", out])


def tree(folder: str = "out") -> dict[str, str]:
    """Return {file: sha256} of all files below a folder."""
    files = (path for path in sorted(Path(folder).rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def command(*words: str, out: str = "out/toy/1.0.0") -> list[str]:
    return [sys.executable, "-m", "pipelines", "convert", *words, "--out", out]


def slow_source(episodes: int = 120) -> str:
    """Return a source that takes long enough to be killed in the middle: five partitions of 25 rollouts."""
    return f"rollouts:BabyAI-GoToLocal-v0?episodes={episodes}"


def children(pid: int) -> list[int]:
    """Return all processes below one, from /proc."""
    below = [int(n) for path in Path(f"/proc/{pid}/task").glob("*/children") for n in path.read_text().split()]
    return below + [grandchild for child in below for grandchild in children(child)]


def rejects(folder: str = "out") -> list[dict[str, Any]]:
    return [
        json.loads(line) for path in sorted(Path(folder).rglob("rejects/*")) for line in path.read_text().splitlines()
    ]


def minari_file(change: str) -> str:
    """Write a Minari dataset of 3 episodes in HDF5, of which episode 1 is spoilt; returns its source."""
    h5py = pytest.importorskip("h5py")
    folder = Path(f"minari-{change}/data")
    folder.mkdir(parents=True)
    box = {"type": "Box", "shape": [2], "dtype": "float32", "low": [-10.0, -10.0], "high": [10.0, 10.0]}
    discrete = {"type": "Discrete", "dtype": "int64", "start": 0, "n": 3}
    with h5py.File(folder / "main_data.hdf5", "w") as file:
        for number in range(3):
            length = 0 if (number, change) == (1, "empty") else 4
            observations, actions = np.ones((length + 1, 2), np.float32), np.ones(length, np.int64)
            if number == 1:
                if change == "nan":
                    observations[2, 1] = np.nan
                if change == "inf":
                    observations[2, 1] = np.inf
                if change == "range":
                    actions[3] = 3
                if change == "ragged":
                    actions = actions[:2]
            group = file.create_group(f"episode_{number}")
            group.attrs["id"] = number
            group.attrs["total_steps"] = length
            group["observations"], group["actions"] = observations, actions
            for name in ("rewards", "terminations", "truncations"):
                group[name] = np.zeros(length, np.float64 if name == "rewards" else bool)
        file.attrs["total_episodes"], file.attrs["total_steps"] = 3, 12
    metadata = {
        "dataset_id": "toy/spoilt-v0", "total_episodes": 3, "total_steps": 12, "data_format": "hdf5",
        "observation_space": json.dumps(box), "action_space": json.dumps(discrete), "minari_version": "0.5.4",
    }  # fmt: skip
    (folder / "metadata.json").write_text(json.dumps(metadata))
    return f"minari:minari-{change}"


def elsewhere() -> dict[str, str]:
    """Return the environment variables with which a new process knows the source `faulty`."""
    Path("site").mkdir(exist_ok=True)
    line = "from pipelines.sources import SOURCES; SOURCES['faulty'] = 'faulty_source:FaultySource'\n"
    Path("site/sitecustomize.py").write_text(line)
    path = os.pathsep.join(["site", str(HERE), str(HERE.parents[1])])
    return {**os.environ, "PYTHONPATH": path}


def faults(folder: Path) -> list[str]:
    return [fault.file for fault in verify(folder, deep=True)]
