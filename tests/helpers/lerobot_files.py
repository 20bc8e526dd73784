"""Small LeRobot datasets, written with pyarrow and PyAV, in which each frame shows its own number."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SIDE, FPS = 32, 10
EYE, WRIST = "observation.images.eye", "observation.images.wrist"
CODECS = {"libx264": {"crf": "18"}, "libsvtav1": {"crf": "20", "svtav1-params": "lp=1"}, "mpeg4": {}}


def picture(number: int, side: int = SIDE) -> Any:
    """uint8[side, side, 3] that shows `number` modulo 256, so that `shown` reads it even after a lossy codec."""
    pixels = np.empty((side, side, 3), np.uint8)
    pixels[:, : side // 2], pixels[:, side // 2 :] = 8 + number % 16 * 15, 8 + number // 16 % 16 * 15
    return pixels


def shown(pixels: Any) -> int:
    half = pixels.shape[1] // 2
    low, high = (round((float(part.mean()) - 8) / 15) for part in (pixels[:, :half], pixels[:, half:]))
    return low + 16 * high


def write_video(
    path: Path, numbers: Sequence[int], codec: str = "libx264", gop: int = 6, side: int = SIDE, fps: int = FPS
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options={**CODECS[codec], "g": str(gop)})
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        for number in numbers:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number, side), "rgb24")))
        container.mux(stream.encode())


def features(cameras: Sequence[str], dtype: str = "video") -> dict[str, Any]:
    camera = {"dtype": dtype, "shape": [SIDE, SIDE, 3], "names": ["height", "width", "channels"]}
    numbers = {"observation.state": ("float32", 3), "action": ("float32", 2), "timestamp": ("float32", 1)}
    numbers |= {name: ("int64", 1) for name in ("frame_index", "episode_index", "index", "task_index")}
    numbers |= {"next.reward": ("float32", 1), "next.done": ("bool", 1)}
    described = {name: {"dtype": dtype, "shape": [size], "names": None} for name, (dtype, size) in numbers.items()}
    return {**described, **dict.fromkeys(cameras, camera)}


def rows(episode: int, length: int, start: int = 0, task: int = 0) -> dict[str, list[Any]]:
    """The columns of an episode. Its state is [episode, step, 0], its action [step / length, -1]."""
    steps = np.arange(length)
    return {
        "observation.state": [[float(episode), float(step), 0.0] for step in steps],
        "action": [[step / length, -1.0] for step in steps],
        "timestamp": (steps / FPS).astype(np.float32).tolist(),
        "frame_index": steps.tolist(),
        "episode_index": [episode] * length,
        "index": (start + steps).tolist(),
        "task_index": [task] * length,
        "next.reward": [0.0] * (length - 1) + [1.0],
        "next.done": [False] * (length - 1) + [True],
    }


def write_table(path: Path, columns: Any, groups: int = 1 << 20) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=groups)


def together(parts: Sequence[dict[str, list[Any]]]) -> dict[str, list[Any]]:
    return {name: [value for part in parts for value in part[name]] for name in parts[0]}


def write_info(folder: Path, version: str, episodes: int, cameras: Sequence[str], **said: Any) -> None:
    info = {
        "codebase_version": version, "robot_type": "toy", "total_episodes": episodes, "fps": FPS, "chunks_size": 1000,
        "splits": {"train": f"0:{episodes}"}, "features": features(cameras), **said,
    }  # fmt: skip
    (folder / "meta").mkdir(parents=True, exist_ok=True)
    (folder / "meta/info.json").write_text(json.dumps(info))


def write_v3(
    folder: Path,
    lengths: Sequence[int] = (7, 5, 9, 4),
    files: Sequence[int] = (0, 0, 0, 1),
    cameras: Sequence[str] = (EYE, WRIST),
    codec: str = "libx264",
    gop: int = 6,
    **said: Any,
) -> Path:
    """A dataset of version 3.0. files: the data file and the video of each episode. Frame t of episode e, which begins
    at row r of all, shows r + t."""
    starts = np.concatenate([[0], np.cumsum(lengths)])[:-1].tolist()
    write_info(folder, "v3.0", len(lengths), cameras, **said)
    tasks = pa.table({"task_index": [0, 1], "__index_level_0__": ["lift the cube", "drop it"]})
    pq.write_table(tasks, folder / "meta/tasks.parquet")
    listed: dict[str, list[Any]] = {"episode_index": list(range(len(lengths))), "length": list(lengths)}
    listed["tasks"] = [["lift the cube"], *[["drop it"]] * (len(lengths) - 1)]
    listed |= {"data/chunk_index": [0] * len(lengths), "data/file_index": list(files)}
    first = [starts[files.index(file)] for file in files]
    for camera in cameras:
        listed |= {f"videos/{camera}/chunk_index": [0] * len(lengths), f"videos/{camera}/file_index": list(files)}
        begin = [(start - first[i]) / FPS for i, start in enumerate(starts)]
        listed[f"videos/{camera}/from_timestamp"] = begin
        listed[f"videos/{camera}/to_timestamp"] = [at + n / FPS for at, n in zip(begin, lengths, strict=True)]
    write_table(folder / "meta/episodes/chunk-000/file-000.parquet", listed)
    for file in sorted(set(files)):
        held = [i for i, other in enumerate(files) if other == file]
        parts = [rows(i, lengths[i], starts[i], int(i > 0)) for i in held]
        write_table(folder / f"data/chunk-000/file-{file:03d}.parquet", together(parts), groups=8)
        for number, camera in enumerate(cameras):
            shows = [100 * number + starts[i] + t for i in held for t in range(lengths[i])]
            write_video(folder / f"videos/{camera}/chunk-000/file-{file:03d}.mp4", shows, codec, gop)
    return folder


def write_v2(
    folder: Path,
    lengths: Sequence[int] = (7, 5, 9),
    version: str = "v2.1",
    cameras: Sequence[str] = (EYE, WRIST),
    data: str = "data/chunk-{0:03d}/episode_{1:06d}.parquet",
    **said: Any,
) -> Path:
    """A dataset of version 2. Frame t of episode e shows 40 * e + t."""
    write_info(folder, version, len(lengths), cameras, **said)
    tasks = [{"task_index": 0, "task": "lift the cube"}, {"task_index": 1, "task": "drop it"}]
    (folder / "meta/tasks.jsonl").write_text("".join(json.dumps(task) + "\n" for task in tasks))
    lines = [{"episode_index": i, "tasks": ["drop it"], "length": length} for i, length in enumerate(lengths)]
    (folder / "meta/episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for i, length in enumerate(lengths):
        write_table(folder / data.format(0, i, len(lengths)), rows(i, length, task=int(i > 0)))
        for number, camera in enumerate(cameras):
            path = folder / f"videos/chunk-000/{camera}/episode_{i:06d}.mp4"
            write_video(path, [100 * number + 40 * i + t for t in range(length)])
    return folder


def change_info(folder: Path, **said: Any) -> None:
    path = folder / "meta/info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **said}))


def change_table(path: Path, drop: Sequence[str] = (), **columns: Any) -> None:
    """Write a table anew without some columns, or with others."""
    table = pq.read_table(path).to_pydict()
    write_table(path, {**{name: values for name, values in table.items() if name not in drop}, **columns})
