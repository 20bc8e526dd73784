"""The cases of bench_sources for replay buffers, beside bare reading with zarr and with numpy."""

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


def make_dqn(folder: Path, episodes: int) -> None:
    """A game's pictures of 84x84 in one checkpoint, as the DQN replay dataset has them."""
    import gzip

    import numpy as np

    rows, generator = episodes * STEPS, np.random.default_rng(0)
    flat = {
        "action": generator.integers(0, 6, rows).astype(np.int32),
        "reward": generator.integers(-1, 2, rows).astype(np.float32),
        "terminal": (np.arange(rows) % STEPS == STEPS - 1).astype(np.uint8),
    }
    for name, values in flat.items():
        with gzip.open(folder / f"$store$_{name}_ckpt.0.gz", "wb") as file:
            np.save(file, values)
    with gzip.open(folder / "$store$_observation_ckpt.0.gz", "wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (rows, 84, 84)}
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(rows):
            picture = np.full((84, 84), 87, np.uint8)
            for top, left in generator.integers(0, 76, (3, 2)):
                picture[top : top + 8, left : left + 3] = 236
            file.write(picture.tobytes())


def dqn_by_numpy(folder: Path) -> int:
    """Load the four arrays, and divide them where an episode ends."""
    import gzip

    import numpy as np

    arrays = {}
    for name in ("observation", "action", "reward", "terminal"):
        with gzip.open(folder / f"$store$_{name}_ckpt.0.gz") as file:
            arrays[name] = np.load(file)
    stops = np.flatnonzero(arrays["terminal"]) + 1
    return len([{name: values[stop - STEPS : stop] for name, values in arrays.items()} for stop in stops])


REPLAY_CASES: dict[str, dict[str, Any]] = {
    "zarr": {
        "make": make_zarr,
        "source": "zarr:{folder}/pusht.zarr",
        "bare": {"zarr": zarr_by_zarr},
        "imports": "zarr",
        "few": 20,
    },
    "dqn-replay": {
        "make": make_dqn,
        "source": "dqn-replay:{folder}",
        "bare": {"numpy": dqn_by_numpy},
        "imports": "numpy",
        "few": 20,
    },
}
