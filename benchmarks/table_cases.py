"""The cases of bench_sources for Parquet, Arrow and .npz beside bare reading with `datasets`, pyarrow and numpy."""

import functools
import io
from pathlib import Path
from typing import Any

from benchmarks.hdf5_cases import STEPS, pictures


def make_table(folder: Path, episodes: int, saved: bool) -> None:
    """JAT's Atari episodes: pictures of 84x84 as PNG, an action and a reward, by the `datasets` library."""
    import datasets
    import numpy as np
    from PIL import Image

    def file(pixels: Any) -> dict[str, Any]:
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "PNG")
        return {"bytes": out.getvalue(), "path": None}

    def rows() -> Any:
        for number in range(episodes):
            yield {
                "image_observations": [file(pixels) for pixels in pictures(number, STEPS, 84, 84)],
                "discrete_actions": (np.arange(STEPS) % 18).tolist(),
                "rewards": [1.0] * STEPS,
            }

    features = datasets.Features(
        {
            "image_observations": datasets.Sequence(datasets.Image()),
            "discrete_actions": datasets.Sequence(datasets.Value("int64")),
            "rewards": datasets.Sequence(datasets.Value("float32")),
        }
    )
    table = datasets.Dataset.from_generator(rows, features=features, cache_dir=str(folder / "cache"))
    if saved:
        table.save_to_disk(folder / "saved")
    else:
        table.to_parquet(folder / "train.parquet", batch_size=100)


def parquet_by_pyarrow(folder: Path) -> int:
    """Read the columns of all row groups, without their values in Python."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(folder / "train.parquet")
    return sum(file.read_row_group(number, use_threads=False).num_rows for number in range(file.num_row_groups))


def saved_by_datasets(folder: Path) -> int:
    """Iterate over the rows, with pictures decoded."""
    import datasets

    count = 0
    for row in datasets.load_from_disk(folder / "saved"):
        count += len(row["image_observations"]) > 0
    return count


def make_npz(folder: Path, episodes: int) -> None:
    """A camera of 96x96 and two vectors, an episode a file."""
    import numpy as np

    for number in range(episodes):
        generator = np.random.default_rng(number)
        arrays = {name: generator.uniform(-1, 1, (STEPS, 7)).astype(np.float32) for name in ("action", "state")}
        np.savez(folder / f"episode_{number}.npz", image=pictures(number, STEPS, 96, 96), **arrays)


def npz_by_numpy(folder: Path) -> int:
    """Read every array of every file."""
    import numpy as np

    count = 0
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as arrays:
            count += len([arrays[name] for name in arrays]) > 0
    return count


TABLE_CASES: dict[str, dict[str, Any]] = {
    "parquet": {
        "make": functools.partial(make_table, saved=False),
        "source": "parquet:{folder}/train.parquet",
        "bare": {"pyarrow": parquet_by_pyarrow},
        "imports": "pyarrow.parquet",
        "few": 20,
    },
    "arrow": {
        "make": functools.partial(make_table, saved=True),
        "source": "parquet:{folder}/saved",
        "bare": {"datasets": saved_by_datasets},
        "imports": "datasets",
        "few": 20,
    },
    "npz": {
        "make": make_npz,
        "source": "npz:{folder}",
        "bare": {"numpy": npz_by_numpy},
        "imports": "numpy",
        "few": 20,
    },
}
