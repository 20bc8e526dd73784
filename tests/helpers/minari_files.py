"""A Minari dataset written with h5py alone."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

h5py = pytest.importorskip("h5py")


BOX = {"type": "Box", "dtype": "float32", "shape": [2], "low": [-2.0, -2.0], "high": [2.0, 2.0]}


EYES = {"type": "Box", "dtype": "uint8", "shape": [32, 48, 3]}
EYES |= {name: np.full((32, 48, 3), value).tolist() for name, value in (("low", 0), ("high", 255))}


def encoded(pixels: Any, form: str = "JPEG") -> Any:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return np.frombuffer(file.getvalue(), np.uint8)


def pixels(seed: int, height: int = 32, width: int = 48) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def by_hand(folder: Path, episodes: int = 3, **metadata: Any) -> Path:
    """Write a dataset in the layout of minari 0.5: episode i has i + 1 steps, a camera, a word and a vector."""
    data = folder / "data"
    data.mkdir(parents=True)
    observation = {"camera": EYES, "word": {"type": "Text", "max_length": 9, "min_length": 0, "charset": "a"}}
    said = {
        "total_episodes": episodes,
        "total_steps": sum(range(1, episodes + 1)),
        "data_format": "hdf5",
        "observation_space": json.dumps({"type": "Dict", "subspaces": {**observation, "joint": BOX}}),
        "action_space": json.dumps({"type": "Discrete", "dtype": "int64", "start": 1, "n": 3}),
        "dataset_id": "toy/hand-v0",
        "algorithm_name": "a hand",
    }
    (data / "metadata.json").write_text(json.dumps({k: v for k, v in {**said, **metadata}.items() if v is not None}))
    with h5py.File(data / "main_data.hdf5", "w") as file:
        for number in range(episodes):
            steps = number + 1
            group = file.create_group(f"episode_{number}")
            group.attrs["total_steps"] = steps
            seen = group.create_group("observations")
            camera = seen.create_dataset("camera", (steps + 1,), h5py.vlen_dtype(np.uint8))
            for i in range(steps + 1):
                camera[i] = encoded(pixels(i))
            seen.create_dataset("word", data=[f"wörd {i}" for i in range(steps + 1)], dtype=h5py.string_dtype())
            seen["joint"] = np.full((steps + 1, 2), number, np.float32)
            group["actions"] = np.arange(steps) % 3 + 1
            group["rewards"] = np.arange(steps, dtype=float)
            group["terminations"] = np.arange(steps) == steps - 1
            group["truncations"] = np.zeros(steps, bool)
            group["infos/success"] = np.arange(steps + 1) == 2
    return folder


def camera(*frames: Any) -> Callable[[Any], None]:
    def change(group: Any) -> None:
        del group["observations/camera"]
        made = group.create_dataset("observations/camera", (3,), h5py.vlen_dtype(np.uint8))
        for i in range(3):
            made[i] = frames[i] if i < len(frames) else encoded(pixels(i))

    return change
