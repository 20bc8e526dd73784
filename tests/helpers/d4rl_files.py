"""Files in D4RL's flat layout, written with h5py alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

h5py = pytest.importorskip("h5py")


def write_flat(
    path: Path,
    terminals: Sequence[int] | None = (2, 3),
    timeouts: Sequence[int] | None = (7,),
    rows: int = 10,
    chunk: int = 4,
    **more: Any,
) -> Path:
    """terminals, timeouts: the rows where they are set, or None for no such array. Without options: four episodes of 3,
    1, 4 and 2 timesteps; the last has no mark of its end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for name, width in (("observations", 11), ("actions", 3), ("infos/qpos", 6), ("next_observations", 11)):
            values = generator.uniform(-1, 1, (rows, width)).astype(np.float32)
            file.create_dataset(name, data=values, chunks=(min(chunk, rows), width), compression="gzip")
        file["rewards"] = np.arange(rows, dtype=np.float32)
        for flag, places in (("terminals", terminals), ("timeouts", timeouts)):
            if places is not None:
                file[flag] = np.isin(np.arange(rows), places)
        file["metadata/algorithm"] = "SAC"
        file["metadata/policy/fc0/weight"] = np.zeros((4, 5))
        for key, value in more.items():
            if key in file:
                del file[key]
            file[key] = value
    return path
