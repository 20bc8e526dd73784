"""LeRobot's cases of `bench_sources`: datasets of v3.0 with two cameras, beside decoding each video once with PyAV."""

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

STEPS = 40  # of each episode
EYES = ("observation.images.front", "observation.images.wrist")
FPS = 30


def make_lerobot(folder: Path, episodes: int, codec: str, options: dict[str, str], size: tuple[int, int]) -> None:
    """A dataset of LeRobot v3.0: two cameras, a state, an action and an instruction, ten episodes a file."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    height, width = size
    vectors = {"observation.state": 7, "action": 7}
    numbers = {name: {"dtype": "float32", "shape": [size], "names": None} for name, size in vectors.items()}
    camera = {"dtype": "video", "shape": [height, width, 3], "names": ["height", "width", "channels"]}
    info = {
        "codebase_version": "v3.0",
        "total_episodes": episodes,
        "fps": FPS,
        "splits": {"train": f"0:{episodes}"},
        "features": numbers | dict.fromkeys(EYES, camera),
    }
    for part in ("meta/episodes/chunk-000", "data/chunk-000", *(f"videos/{eye}/chunk-000" for eye in EYES)):
        (folder / "toy" / part).mkdir(parents=True)
    (folder / "toy/meta/info.json").write_text(json.dumps(info), encoding="utf-8")
    tasks = pa.table({"task_index": [0], "task": ["put the block into the bowl"]})
    pq.write_table(tasks, folder / "toy/meta/tasks.parquet")
    pq.write_table(lerobot_listing(episodes), folder / "toy/meta/episodes/chunk-000/file-000.parquet")
    generator = np.random.default_rng(0)
    for first in range(0, episodes, 10):
        held = range(first, min(first + 10, episodes))
        values = {name: list(generator.uniform(-1, 1, (len(held) * STEPS, 7))) for name in vectors}
        steps = np.tile(np.arange(STEPS), len(held))
        columns = {**values, "frame_index": steps, "timestamp": (steps / FPS).astype(np.float32)}
        columns |= {"episode_index": np.repeat(held, STEPS), "task_index": np.zeros(len(steps), np.int64)}
        pq.write_table(pa.table(columns), folder / f"toy/data/chunk-000/file-{first // 10:03d}.parquet")
        for eye in EYES:
            path = folder / f"toy/videos/{eye}/chunk-000/file-{first // 10:03d}.mp4"
            if first:  # the same pictures again: encoding takes longer than all that is measured
                shutil.copy(path.with_name("file-000.mp4"), path)
            else:
                write_video(path, [scene(generator, height, width) for _ in held], codec, options)


def lerobot_listing(episodes: int) -> Any:
    """Ten episodes a file, each with the statistics of its features, as LeRobot writes them."""
    import pyarrow as pa

    numbers = range(episodes)
    columns: dict[str, Any] = {"episode_index": numbers, "length": [STEPS] * episodes}
    for name in ("data", *(f"videos/{eye}" for eye in EYES)):
        columns |= {f"{name}/chunk_index": [0] * episodes, f"{name}/file_index": [i // 10 for i in numbers]}
    for eye in EYES:
        for end, shift in (("from", 0), ("to", 1)):
            columns[f"videos/{eye}/{end}_timestamp"] = [(i % 10 + shift) * STEPS / FPS for i in numbers]
    columns |= {f"stats/{number}": [[0.0] * 7] * episodes for number in range(40)}
    return pa.table({name: list(values) for name, values in columns.items()})


def scene(generator: Any, height: int, width: int) -> Any:
    """uint8[STEPS, height, width, 3]: smooth pictures with some noise, in which a square moves."""
    import numpy as np

    ramp = np.linspace(0, 120, height)[:, None, None] + np.linspace(0, 80, width)[:, None]
    frames = ramp + generator.uniform(0, 40, 3) + generator.normal(0, 4, (STEPS, height, width, 3))
    for step, frame in enumerate(frames):
        at, side = width * step // (2 * STEPS), height // 4
        frame[side : 2 * side, at : at + side] = (200, 40, 40)
    return frames.clip(0, 255).astype(np.uint8)


def write_video(path: Path, episodes: list[Any], codec: str, options: dict[str, str]) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options=options)
        stream.height, stream.width = episodes[0].shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frames in episodes:
            for pixels in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode())


def enlarge_lerobot(folder: Path, episodes: int) -> None:
    """Tables of 20,000 episodes in row groups of 10, as LeRobot writes them while it records."""
    import pyarrow.parquet as pq

    info = json.loads((folder / "toy/meta/info.json").read_text(encoding="utf-8"))
    info |= {"total_episodes": episodes, "splits": {"train": f"0:{episodes}"}}
    (folder / "toy/meta/info.json").write_text(json.dumps(info), encoding="utf-8")
    table = lerobot_listing(episodes)
    for number, first in enumerate(range(0, episodes, 20_000)):
        path = folder / f"toy/meta/episodes/chunk-000/file-{number:03d}.parquet"
        pq.write_table(table.slice(first, 20_000), path, row_group_size=10)


def videos_by_pyav(folder: Path) -> int:
    """Decode each video once, from front to end."""
    return _videos(folder, lambda frame: None)


def videos_by_pyav_to_rgb(folder: Path) -> int:
    """The same, with each frame as an array of RGB, which is what a dataset gives."""
    return _videos(folder, lambda frame: frame.to_ndarray(format="rgb24"))


def _videos(folder: Path, look: Callable[[Any], Any]) -> int:
    import av

    count = 0
    for path in sorted(folder.glob("toy/videos/**/*.mp4")):
        with av.open(str(path)) as container:
            container.streams.video[0].codec_context.thread_count = 1
            for frame in container.decode(video=0):
                look(frame)
                count += 1
    return count // (STEPS * len(EYES))


def _case(codec: str, options: dict[str, str], size: tuple[int, int], resize: str) -> dict[str, Any]:
    return {
        "make": functools.partial(make_lerobot, codec=codec, options=options, size=size),
        "source": f"lerobot:{{folder}}/toy?resize={resize}",
        "bare": {"PyAV": videos_by_pyav, "PyAV, to RGB": videos_by_pyav_to_rgb},
        "enlarge": enlarge_lerobot,
        "imports": "av",
        "steps": STEPS,
    }


LEROBOT_CASES = {
    # A key frame every other frame, as LeRobot encodes; its cameras have 480x640, or 96x96 in a simulator.
    "lerobot-av1": _case("libsvtav1", {"g": "2", "crf": "30", "preset": "12"}, (480, 640), "96x128"),
    "lerobot-small": _case("libx264", {"g": "2", "crf": "30"}, (96, 96), "96x96"),
}
