"""Tables in Parquet and Arrow, in the layouts that the `datasets` library writes, made with pyarrow alone."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
from conversions import png

PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
ATARI = pa.schema(
    [
        ("image_observations", pa.list_(PICTURE)),
        ("discrete_actions", pa.list_(pa.int64())),
        ("rewards", pa.list_(pa.float32())),
    ]
)
CONTROL = pa.schema(
    [
        ("continuous_observations", pa.list_(pa.list_(pa.float32()))),
        ("continuous_actions", pa.list_(pa.list_(pa.float32()))),
        ("rewards", pa.list_(pa.float32())),
    ]
)


def atari(steps: Sequence[int] = (3, 1, 4)) -> Any:
    """JAT's Atari episodes of so many timesteps."""
    rows = [
        {
            "image_observations": [{"bytes": png(10 * number + i, (32, 32)), "path": None} for i in range(count)],
            "discrete_actions": [(number + i) % 18 for i in range(count)],
            "rewards": [float(number)] * count,
        }
        for number, count in enumerate(steps)
    ]
    return pa.Table.from_pylist(rows, ATARI)


def control(steps: Sequence[int] = (3, 1, 6, 2), seed: int = 0) -> Any:
    """JAT's MuJoCo or Meta-World episodes, with 3 numbers observed and 2 acted."""
    generator = np.random.default_rng(seed)
    rows = [
        {
            "continuous_observations": generator.normal(size=(count, 3)).astype(np.float32).tolist(),
            "continuous_actions": generator.uniform(-1, 1, (count, 2)).astype(np.float32).tolist(),
            "rewards": generator.normal(size=count).astype(np.float32).tolist(),
        }
        for count in steps
    ]
    return pa.Table.from_pylist(rows, CONTROL)


def with_camera(steps: Sequence[int] = (3, 1, 6, 2)) -> Any:
    """Episodes with a camera beside numbers."""
    table = control(steps)
    cameras = [[{"bytes": png(i, (32, 32)), "path": f"{i}.png"} for i in range(count)] for count in steps]
    return table.append_column("observation.camera", pa.array(cameras, pa.list_(PICTURE)))


def timesteps(lengths: Sequence[int] = (3, 1, 6), first: int = 0) -> Any:
    """A table of timesteps, as LeRobot names its columns; episodes are numbered from `first`."""
    generator, rows = np.random.default_rng(0), sum(lengths)
    states = generator.normal(size=(rows, 3)).astype(np.float32)
    return pa.table(
        {
            "observation.state": pa.array(states.tolist(), pa.list_(pa.float32(), 3)),
            "action": pa.array((states[:, :2] / 8).tolist(), pa.list_(pa.float32())),
            "next.reward": np.arange(rows, dtype=np.float32),
            "frame_index": np.concatenate([np.arange(length) for length in lengths]),
            "episode_index": np.repeat(np.arange(first, first + len(lengths)), lengths),
            "goal": ["reach"] * rows,
        }
    )


def write_parquet(path: Path, table: Any, rows: int = 2, **options: Any) -> Path:
    """Write a file of row groups of so many rows, without compression."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=rows, **{"compression": "none", **options})
    return path


def write_stream(path: Path, table: Any, rows: int = 2) -> Path:
    """Write the Arrow stream in which `datasets` keeps its files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.ipc.new_stream(path, table.schema) as stream:
        stream.write_table(table, max_chunksize=rows)
    return path


def write_file(path: Path, table: Any, rows: int = 2, compression: str | None = None) -> Path:
    """Write the Arrow file format, also called Feather."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_file(path, table.schema, options=options) as file:
        file.write_table(table, max_chunksize=rows)
    return path


def save_to_disk(folder: Path, tables: Sequence[Any], split: str | None = None) -> Path:
    """Write a folder as `Dataset.save_to_disk` does, with a file for each table."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"data-{number:05d}-of-{len(tables):05d}.arrow" for number in range(len(tables))]
    for name, table in zip(names, tables, strict=True):
        write_stream(folder / name, table)
    state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "0", "_split": split}
    (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")
    (folder / "dataset_info.json").write_text("{}", encoding="utf-8")
    return folder
