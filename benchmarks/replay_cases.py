"""The case of bench_sources for Zarr, beside bare reading with zarr."""

from pathlib import Path
from typing import Any

from benchmarks.hdf5_cases import STEPS, pictures


def make_zarr(folder: Path, episodes: int) -> None:
    """A camera of 96x96 and two vectors, in chunks of 161 timesteps, as Push-T's replay buffer has them."""
    import numpy as np
    import zarr

    rows, generator = episodes * STEPS, np.random.default_rng(0)
    root = zarr.open_group(folder / "pusht.zarr", mode="w", zarr_format=2)
    for name, width in (("action", 2), ("state", 5)):
        values = generator.uniform(-1, 1, (rows, width)).astype(np.float32)
        root.create_array(f"data/{name}", data=values, chunks=(161, width))
    images = root.create_array("data/img", shape=(rows, 96, 96, 3), chunks=(161, 96, 96, 3), dtype=np.uint8)
    for start in range(0, rows, 161):
        images[start : start + 161] = pictures(start, min(161, rows - start), 96, 96)
    root.create_array("meta/episode_ends", data=np.arange(1, episodes + 1) * STEPS)


def zarr_by_zarr(folder: Path) -> int:
    """Read the rows of each episode of every array."""
    import zarr

    root = zarr.open_group(folder / "pusht.zarr", mode="r")
    ends, start = root["meta/episode_ends"][:].tolist(), 0
    arrays = [root[f"data/{name}"] for name in ("action", "state", "img")]
    for stop in ends:
        for array in arrays:
            array[start:stop]
        start = stop
    return len(ends)


REPLAY_CASES: dict[str, dict[str, Any]] = {
    "zarr": {
        "make": make_zarr,
        "source": "zarr:{folder}/pusht.zarr",
        "bare": {"zarr": zarr_by_zarr},
        "imports": "zarr",
        "few": 20,
    },
}
