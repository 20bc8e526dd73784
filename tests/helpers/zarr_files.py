"""Replay buffers in the layout of diffusion policy, written with zarr alone."""

import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

zarr = pytest.importorskip("zarr")


def write_replay(
    path: Path,
    ends: Sequence[int] = (3, 4, 10),
    form: int = 2,
    chunk: int = 4,
    side: int = 32,
    compressor: Any = "auto",
    **more: Any,
) -> Path:
    """Write a folder. Without options: three episodes of 3, 1 and 6 timesteps, with rows in chunks of 4. more: other
    arrays of `data`, or None for those that are not to be written."""
    generator, rows = np.random.default_rng(0), int(ends[-1]) if len(ends) else 0
    arrays = {
        "action": generator.uniform(-1, 1, (rows, 2)).astype(np.float32),
        "img": generator.integers(0, 256, (rows, side, side, 3), dtype=np.uint8),
        "state": generator.uniform(0, 500, (rows, 5)).astype(np.float32),
        **more,
    }
    shutil.rmtree(path, ignore_errors=True)
    root = zarr.open_group(path, mode="w", zarr_format=form)
    data, meta = root.create_group("data"), root.create_group("meta")
    for name, values in arrays.items():
        if values is not None:
            chunks = (min(chunk, max(1, len(values))), *(max(1, side) for side in values.shape[1:]))
            data.create_array(
                name, data=values, chunks=chunks, config={"write_empty_chunks": True}, compressors=compressor
            )
    meta.create_array("episode_ends", data=np.asarray(ends, np.int64), chunks=(max(1, len(ends)),))
    return path


def zipped(folder: Path, top: str = "") -> Path:
    """Pack a folder into a .zip beside it, as a Zarr store of its own or below a folder `top`."""
    path = folder.with_name(folder.name + ".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        for one in sorted(folder.rglob("*")):
            if one.is_file():
                file.write(one, top + one.relative_to(folder).as_posix())
    return path
