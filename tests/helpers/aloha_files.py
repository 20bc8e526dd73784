"""Episodes in the layout of ALOHA and ACT, written with h5py alone."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

h5py = pytest.importorskip("h5py")


def frames(seed: int, steps: int, height: int = 48, width: int = 64) -> Any:
    """Smooth pictures, which survive JPEG."""
    rise = np.linspace(0, 1, height * width * 3).reshape(height, width, 3)
    return np.stack([(rise * (200 - 5 * t - seed)).astype(np.uint8) for t in range(steps)])


def jpeg(pixels: Any, form: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, quality=95)
    return file.getvalue()


def padded(files: list[bytes], length: int = 0) -> Any:
    """uint8[T, n]: the files as rows that zeros make equally long."""
    length = length or max(map(len, files)) + 7
    return np.stack([np.frombuffer(file.ljust(length, b"\0"), np.uint8) for file in files])


def write_episode(
    path: Path, seed: int = 0, steps: int = 4, compress: bool = False, sim: bool = True, **more: Any
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    with h5py.File(path, "w", rdcc_nbytes=1024**2 * 2) as file:
        file.attrs["sim"] = sim
        file.attrs["compress"] = compress
        file["action"] = generator.uniform(-1, 1, (steps, 14)).astype(np.float32)
        file["observations/qpos"] = generator.uniform(-3, 3, (steps, 14)).astype(np.float32)
        file["observations/qvel"] = generator.uniform(-1, 1, (steps, 14)).astype(np.float32)
        for number, camera in enumerate(("cam_high", "cam_left_wrist")):
            pixels = frames(seed + number, steps)
            values = padded([jpeg(one) for one in pixels]) if compress else pixels
            file.create_dataset(f"observations/images/{camera}", data=values, chunks=(1, *values.shape[1:]))
        if compress:
            cameras = file["observations/images"].values()
            ends = [[len(row.tobytes().rstrip(b"\0")) for row in camera[()]] for camera in cameras]
            file["compress_len"] = np.array(ends, np.float32)
        for key, value in more.items():
            file[key] = value
    return path


def write_folder(folder: Path, episodes: int = 3, **kind: Any) -> Path:
    for number in range(episodes):
        write_episode(folder / f"episode_{number}.hdf5", number, number + 3, **kind)
    return folder
