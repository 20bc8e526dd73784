"""The cases of bench_sources for HDF5: ALOHA, robomimic, D4RL and Minari beside bare reading with h5py and minari."""

import functools
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STEPS = 40  # of each episode with pictures
SHORT = 1  # where there are many
FLAT_STEPS = 1000  # of each episode of D4RL and Minari
DIFFERENT = 8  # episodes whose values differ; the others are copies


def pictures(seed: int, count: int, height: int, width: int) -> Any:
    """uint8[count, height, width, 3]: smooth pictures with some noise, which JPEG makes as small as a camera's."""
    import numpy as np

    generator = np.random.default_rng(seed)
    base = np.linspace(0, 120, height)[:, None, None] + np.linspace(0, 80, width)[None, :, None]
    noise = generator.normal(0, 4, (height, width, 3))
    return np.stack([base + noise + shift for shift in generator.uniform(0, 40, count)]).clip(0, 255).astype(np.uint8)


def make_aloha(folder: Path, episodes: int, jpeg: bool, steps: int = STEPS) -> None:
    """Two cameras of 480x640, as padded JPEG or as pixels."""
    for number in range(episodes):
        path = folder / f"episode_{number}.hdf5"
        if number < DIFFERENT:
            _write_aloha(path, number, jpeg, steps)
        else:
            shutil.copyfile(folder / f"episode_{number % DIFFERENT}.hdf5", path)


def _write_aloha(path: Path, seed: int, jpeg: bool, steps: int) -> None:
    import h5py
    import numpy as np

    generator = np.random.default_rng(seed)
    with h5py.File(path, "w") as file:
        file.attrs["sim"], file.attrs["compress"] = False, jpeg
        for name in ("action", "observations/qpos", "observations/qvel"):
            file[name] = generator.uniform(-1, 1, (steps, 14)).astype(np.float32)
        for number, camera in enumerate(("cam_high", "cam_left_wrist")):
            values = pictures(10 * seed + number, steps, 480, 640)
            values = _padded(values) if jpeg else values
            file.create_dataset(f"observations/images/{camera}", data=values, chunks=(1, *values.shape[1:]))


def _padded(values: Any) -> Any:
    import numpy as np
    from PIL import Image

    files = []
    for pixels in values:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=50)  # as ACT's recorder writes them
        files.append(file.getvalue())
    length = max(map(len, files))
    return np.stack([np.frombuffer(file.ljust(length, b"\0"), np.uint8) for file in files])


def aloha_by_h5py(folder: Path) -> int:
    """Read every array, and decode the pictures that are files."""
    import h5py
    import numpy as np
    from PIL import Image

    paths = sorted(folder.glob("*.hdf5"))
    for path in paths:
        with h5py.File(path) as file:
            for name in ("action", "observations/qpos", "observations/qvel"):
                file[name][()]
            for camera in file["observations/images"].values():
                values = camera[()]
                if values.ndim == 2:
                    for row in values:
                        np.asarray(Image.open(io.BytesIO(row.tobytes())))
    return len(paths)


def make_robomimic(folder: Path, episodes: int) -> None:
    """Two cameras of 84x84 and three vectors, as robomimic's image files have them."""
    import h5py
    import numpy as np

    with h5py.File(folder / "image.hdf5", "w") as file:
        file.create_group("data").attrs["env_args"] = '{"env_name": "Lift"}'
        for number in range(episodes):
            generator = np.random.default_rng(number)
            demo = file.create_group(f"data/demo_{number}")
            demo.attrs["num_samples"] = STEPS
            for key in ("agentview_image", "robot0_eye_in_hand_image"):
                demo[f"obs/{key}"] = pictures(number, STEPS, 84, 84)
            for key, width in (
                ("obs/object", 10),
                ("obs/robot0_eef_pos", 3),
                ("obs/robot0_eef_quat", 4),
                ("actions", 7),
            ):
                demo[key] = generator.uniform(-1, 1, (STEPS, width))
            demo["rewards"] = demo["dones"] = np.arange(STEPS) == STEPS - 1


def robomimic_by_h5py(folder: Path) -> int:
    import h5py

    with h5py.File(folder / "image.hdf5") as file:
        for demo in file["data"].values():
            for node in (*demo["obs"].values(), demo["actions"], demo["rewards"], demo["dones"]):
                node[()]
        return len(file["data"])


def make_d4rl(folder: Path, episodes: int) -> None:
    """Hopper's sizes, compressed as D4RL's files are."""
    import h5py
    import numpy as np

    rows, generator = episodes * FLAT_STEPS, np.random.default_rng(0)
    with h5py.File(folder / "hopper.hdf5", "w") as file:
        for name, width in (("observations", 11), ("actions", 3)):
            values = generator.uniform(-1, 1, (rows, width)).astype(np.float32)
            file.create_dataset(name, data=values, compression="gzip")
        file["rewards"] = np.zeros(rows, np.float32)
        file["terminals"] = np.zeros(rows, bool)
        file["timeouts"] = np.arange(rows) % FLAT_STEPS == FLAT_STEPS - 1


def d4rl_by_h5py(folder: Path) -> int:
    """Read all arrays at once, as D4RL does, and divide them where its flags are set."""
    import h5py
    import numpy as np

    with h5py.File(folder / "hopper.hdf5") as file:
        arrays = {name: file[name][()] for name in file}
    stops = np.flatnonzero(arrays["terminals"] | arrays["timeouts"]) + 1
    episodes = {name: np.split(array, stops[:-1]) for name, array in arrays.items()}
    return len(episodes["actions"])


def make_minari(folder: Path, episodes: int, form: str) -> None:
    import gymnasium as gym
    import minari
    import numpy as np
    from minari.data_collector import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    def buffers() -> Iterator[Any]:
        for number in range(episodes):
            generator = np.random.default_rng(number)
            yield EpisodeBuffer(
                observations=generator.uniform(-1, 1, (FLAT_STEPS + 1, 11)),
                actions=generator.uniform(-1, 1, (FLAT_STEPS, 3)).astype(np.float32),
                rewards=np.zeros(FLAT_STEPS),
                terminations=np.zeros(FLAT_STEPS, bool),
                truncations=np.arange(FLAT_STEPS) == FLAT_STEPS - 1,
            )

    spaces = gym.spaces.Box(-np.inf, np.inf, (11,), np.float64), gym.spaces.Box(-1, 1, (3,), np.float32)
    (folder / "data").mkdir()
    storage = MinariStorage.new(folder / "data", *spaces, data_format=form)
    said = {"dataset_id": "bench/hopper-v0", "algorithm_name": "none", "minari_version": minari.__version__}
    storage.update_metadata(said)
    storage.update_episodes(buffers())


def minari_by_minari(folder: Path) -> int:
    from minari import MinariDataset

    return sum(1 for _ in MinariDataset(folder / "data").iterate_episodes())


HDF5_CASES: dict[str, dict[str, Any]] = {
    "aloha": {
        "make": functools.partial(make_aloha, jpeg=True),
        "source": "aloha:{folder}?resize=96x128&task=aloha",
        "bare": {"h5py, Pillow decodes": aloha_by_h5py},
        "imports": "h5py",
        "few": 20,
    },
    "aloha-pixels": {
        "make": functools.partial(make_aloha, jpeg=False),
        "source": "aloha:{folder}?resize=96x128&task=aloha",
        "bare": {"h5py": aloha_by_h5py},
        "imports": "h5py",
        "few": 20,
    },
    "aloha-short": {  # with --episodes 2000: what the number of episodes costs
        "make": functools.partial(make_aloha, jpeg=True, steps=SHORT),
        "source": "aloha:{folder}?resize=96x128&task=aloha",
        "bare": {"h5py, Pillow decodes": aloha_by_h5py},
        "imports": "h5py",
        "steps": SHORT,
        "few": 20,
    },
    "robomimic": {
        "make": make_robomimic,
        "source": "robomimic:{folder}/image.hdf5",
        "bare": {"h5py": robomimic_by_h5py},
        "imports": "h5py",
    },
    "d4rl": {
        "make": make_d4rl,
        "source": "d4rl:{folder}/hopper.hdf5",
        "bare": {"h5py": d4rl_by_h5py},
        "imports": "h5py",
        "steps": FLAT_STEPS,
    },
    **{
        name: {
            "make": functools.partial(make_minari, form=form),
            "source": "minari:{folder}",
            "bare": {"minari": minari_by_minari},
            "imports": "minari",
            "steps": FLAT_STEPS,
        }
        for name, form in (("minari", "hdf5"), ("minari-arrow", "arrow"))
    },
}
