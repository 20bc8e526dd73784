"""Arrays of episodes in .npz files and in folders of .npy files, written with numpy alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def arrays_of(rows: int, seed: int = 0, side: int = 32, **more: Any) -> dict[str, NDArray[Any]]:
    """Arrays of so many timesteps. more: others, or None for those that are not to be there."""
    generator = np.random.default_rng(seed)
    arrays = {
        "joints": generator.normal(size=(rows, 3)).astype(np.float32),
        "eye": generator.integers(0, 256, (rows, side, side, 3), dtype=np.uint8),
        "actions": generator.uniform(-1, 1, (rows, 2)),
        "rewards": np.arange(rows, dtype=np.float32),
        **more,
    }
    return {name: np.asarray(values) for name, values in arrays.items() if values is not None}


def write_npz(path: Path, arrays: Mapping[str, Any], compressed: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


def write_npy(folder: Path, arrays: Mapping[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    return folder


def write_episodes(folder: Path, lengths: Sequence[int] = (3, 1, 4), **more: Any) -> Path:
    """Write a folder of .npz files, an episode each."""
    for number, rows in enumerate(lengths):
        write_npz(folder / f"episode_{number}.npz", arrays_of(rows, number, **more))
    return folder
