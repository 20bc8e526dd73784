"""Make tests/data/golden/schema_<N>/<version>: a small dataset with each kind of record, kept forever.

    python -m scripts.make_golden_datasets

It needs h5py. A committed dataset is never made again: it is there so that
tomorrow's release reads today's bytes, so an existing folder is refused. Run it once when the schema version rises.
Its content is listed by hand in tests/whole/test_golden.py.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

from gato_tokenize import TextTokenizer
from gato_tokenize.modalities.text_training import train_text_model
from gato_tokenize.storage.schema import SCHEMA_VERSION
from pipelines.conversion.convert import convert as run_plan
from pipelines.conversion.plan import make_plan
from pipelines.conversion.reject_budget import RejectBudget
from pipelines.conversion.write_partition import write_here

GOLDEN = Path(__file__).parent.parent / "tests/data/golden"
MAX_TOKENS = 30  # of a record, so that the longer episode of the arm becomes three records
WORDS = ["go left then go right", "a grey square", "what colour?", "grey", "the end of a short document"]
SOURCES = ["text:docs.jsonl?id=id", "image-text:pairs.jsonl", "minari:arm", "minari:eye", "minari:words"]


def main() -> None:
    out = GOLDEN / f"schema_{SCHEMA_VERSION}" / "1.0.0"
    if out.exists():
        sys.exit(f"{out} is there: golden datasets are never made again")
    out.parent.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # sources are recorded as they are named
        Path("words.txt").write_text("\n".join(WORDS) + "\n")
        text = train_text_model(["words.txt"], "text.model", 300, character_coverage=1.0)
        documents()
        pictures()
        arm()
        eye()
        words()
        convert(out, text)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out}: {size} bytes")


def convert(out: Path, text: TextTokenizer) -> None:
    """Convert as `gato-data convert --max-rejects 1` does, with shorter records."""
    plan, tokenizer = make_plan(SOURCES, out, text=text, max_tokens=MAX_TOKENS)
    run_plan(plan, tokenizer, out, RejectBudget("1"), write_here)


def documents() -> None:
    lines = [json.dumps({"id": "one", "text": "the end of a short document"}), "no JSON"]
    lines.append(json.dumps({"id": "two", "text": "naïve 你好\n\tend"}, ensure_ascii=False))
    Path("docs.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def pictures() -> None:
    """Write a JPEG of 16 x 32 with a caption, and a PNG of 20 x 16, which is resized, with a question."""
    rows, columns = np.mgrid[:16, :32]
    smooth = np.stack([rows * 8, columns * 4, rows + columns], axis=2).astype(np.uint8)
    Image.fromarray(smooth).save("smooth.jpg", quality=90)
    Image.fromarray(np.full((20, 16, 3), 128, np.uint8)).save("grey.png")
    lines = [{"image": "smooth.jpg", "caption": "a grey square"}]
    lines.append({"image": "grey.png", "question": "what colour?", "answer": "grey"})
    Path("pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def arm() -> None:
    """Make the documentation's example of one timestep, then an episode of eleven with one clipped value."""
    box: dict[str, Any] = {"type": "Box", "dtype": "float32"}
    observation = {**box, "shape": [3], "low": [-1000.0] * 3, "high": [1000.0] * 3}
    action = {**box, "shape": [2], "low": [-1.0] * 2, "high": [1.0] * 2}
    long = np.float32([[step / 10, -step, 300 if step == 7 else 0] for step in range(12)])
    acted = np.float32([[step / 10 - 0.5, 1 - step / 5] for step in range(11)])
    episodes = [(np.float32([[0, 1, -5]] * 2), np.float32([[0.25, -1]])), (long, acted)]
    minari("arm", observation, action, [({"": seen}, done) for seen, done in episodes])


def eye() -> None:
    """Make a picture of 16 x 32 and a black one (the last observation is left out)."""
    space: dict[str, Any] = {"type": "Box", "dtype": "uint8", "shape": [16, 32, 3]}
    space |= {"low": np.zeros((16, 32, 3), int).tolist(), "high": np.full((16, 32, 3), 255).tolist()}
    rows, columns = np.mgrid[:16, :32]
    picture = np.stack([rows * 16, columns * 8, rows * 0 + 7], axis=2).astype(np.uint8)
    seen = np.stack([picture, picture * 0, picture])
    minari("eye", space, {"type": "Discrete", "dtype": "int64", "start": 0, "n": 5}, [({"": seen}, np.array([4, 0]))])


def words() -> None:
    subspaces = {
        "mission": {"type": "Text", "max_length": 99, "min_length": 0, "charset": "a"},
        "way": {"type": "Discrete", "dtype": "int64", "start": -1, "n": 4},
    }
    seen = {"mission": ["go left", "go left", "go right"], "way": [-1, 2, 0]}
    action = {"type": "Discrete", "dtype": "int64", "start": 0, "n": 3}
    minari("words", {"type": "Dict", "subspaces": subspaces}, action, [(seen, np.array([2, 1]))])


def minari(name: str, observation: dict[str, Any], action: dict[str, Any], episodes: list[Any]) -> None:
    """Write a dataset as minari lays it out; each episode is (observations by key, actions) and terminates."""
    data = Path(name) / "data"
    data.mkdir(parents=True)
    said: dict[str, Any] = {"dataset_id": f"golden/{name}-v1", "algorithm_name": "a hand", "data_format": "hdf5"}
    said |= {"total_episodes": len(episodes), "observation_space": json.dumps(observation)}
    (data / "metadata.json").write_text(json.dumps({**said, "action_space": json.dumps(action)}))
    with h5py.File(data / "main_data.hdf5", "w") as file:
        for number, (seen, acted) in enumerate(episodes):
            group = file.create_group(f"episode_{number}")
            for key, values in seen.items():
                kind = h5py.string_dtype() if isinstance(values[0], str) else None
                group.create_dataset(f"observations/{key}".rstrip("/"), data=values, dtype=kind)
            group["actions"] = acted
            group["rewards"] = np.arange(len(acted), dtype=float)
            group["terminations"] = np.arange(len(acted)) == len(acted) - 1
            group["truncations"] = np.zeros(len(acted), bool)


if __name__ == "__main__":
    main()
