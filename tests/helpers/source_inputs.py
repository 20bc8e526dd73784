"""A small input of every source that reads files, for tests that hold of all of them."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from aloha_files import write_folder
from archives import tar
from coco_files import write_captions, write_questions
from conversions import png
from d4rl_files import write_flat
from dqn_files import write_run
from lerobot_files import write_v2, write_v3
from minari_files import by_hand as minari_by_hand
from npz_files import arrays_of, write_episodes, write_npy, write_npz
from recording_files import robot, write_ros1_bag, write_ros2, write_ros2_bag
from rlds_files import by_hand
from robomimic_files import write_demos
from table_files import control, save_to_disk, timesteps, with_camera, write_parquet, write_stream
from zarr_files import write_replay, zipped


def texts(folder: Path) -> str:
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("one\ntwo\n\nthree\n", encoding="utf-8")
    (folder / "deep/b.txt").write_text(("Grüße " * 1000 + "\n") * 200, encoding="utf-8")  # of two blocks
    (folder / "deep/.hidden.txt").write_text("not seen", encoding="utf-8")
    (folder / "deep/c.txt.gz").write_bytes(gzip.compress(b"packed\nlines\n" * 20, mtime=0))
    return "text:{}/**/*.txt*"


def lines(folder: Path) -> str:
    texts(folder)
    rows = [json.dumps({"text": f"number {i} " * 20, "id": i}) for i in range(50)]
    (folder / "d.jsonl").write_text("\n".join([*rows, "broken"]), encoding="utf-8")
    return "text:{}/*.jsonl?id=id"


def demos(folder: Path) -> str:
    write_demos(folder / "b.hdf5", demos=3)
    write_demos(folder / "deep/a.hdf5", demos=4, masks={"train": ["demo_0", "demo_1"], "valid": ["demo_2"]})
    return "robomimic:{}?resize=16x16"


def pairs(folder: Path) -> str:
    (folder / "pictures").mkdir(parents=True)
    rows = []
    for number in range(4):
        (folder / f"pictures/{number}.png").write_bytes(png(number))
        rows.append(json.dumps({"image": f"pictures/{number}.png", "caption": f"number {number}"}))
    (folder / "pairs.jsonl").write_text("\n".join(rows), encoding="utf-8")
    members = [(f"{i}.{kind}", png(i) if kind == "png" else b"words") for i in range(3) for kind in ("png", "txt")]
    (folder / "a.tar").write_bytes(tar(members))
    (folder / "b.tar.gz").write_bytes(gzip.compress(tar(members), mtime=0))
    return "image-text:{}/*.[jt]*?resize=32x48"


def captions(folder: Path) -> str:
    write_captions(folder)
    write_captions(folder, part="train2017", images=(3, 5, 8))
    return "coco:{}"


def questions(folder: Path) -> str:
    return f"coco:{{}}/{write_questions(folder).name}"


def tables(folder: Path) -> str:
    for number, split in enumerate(("train", "validation")):
        write_parquet(folder / f"{split}-00000-of-00001.parquet", with_camera((3, 1, 6, 2 + number)))
    return "parquet:{}"


def saved(folder: Path) -> str:
    for split in ("train", "test"):
        save_to_disk(folder / split, [control(), control(seed=1)], split)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}), encoding="utf-8")
    return "parquet:{}"


def rows(folder: Path) -> str:
    for number, first in enumerate((0, 3)):
        write_parquet(folder / f"steps-{number:05d}-of-00002.parquet", timesteps(first=first))
    return "parquet:{}?episode=episode_index"


def stacked(folder: Path) -> str:
    flags = np.isin(np.arange(10), (2, 3, 9))
    for split in ("train", "val"):
        write_npz(folder / f"{split}.npz", arrays_of(10, rewards=None, terminals=flags), compressed=split == "val")
    return "npz:{}?ends=terminals"


def folders(folder: Path) -> str:
    for number in range(3):
        write_npy(folder / f"{number}", arrays_of(4, number))
    return "npz:{}"


def recordings(folder: Path) -> str:
    folder.mkdir(parents=True)
    for number in range(3):
        write_ros2(folder / f"{number}.mcap", robot(0.5 + number / 2, instruction=f"task {number}"))
    return "mcap:{}?action=/cmd_vel"


def bags(folder: Path) -> str:
    folder.mkdir(parents=True)
    for number in range(2):
        write_ros1_bag(folder / f"{number}.bag", robot(0.5 + number / 2, instruction=f"task {number}"))
    write_ros2_bag(folder / "2", robot(1.5))
    return "rosbag:{}?action=/cmd_vel"


def games(folder: Path) -> str:
    write_run(folder / "Pong/1/replay_logs", [7, 1, 9, 12])
    return "dqn-replay:{}/Pong/1?stack=4"


# Each writes files below a folder that does not exist yet and returns the string of the source, with {} for the folder.
INPUTS: dict[str, Callable[[Path], str]] = {
    "text": texts,
    "text-by-line": lambda folder: texts(folder) + "?by=line",
    "text-jsonl": lines,
    "image-text": pairs,
    "coco-captions": captions,
    "coco-questions": questions,
    "rlds": lambda folder: f"rlds:{{}}/{by_hand(folder / 'toy/1.0.0').parent.name}",
    "lerobot-v3": lambda folder: f"lerobot:{{}}/{write_v3(folder / 'toy').name}",
    "lerobot-v2": lambda folder: f"lerobot:{{}}/{write_v2(folder / 'toy-v2').name}",
    "minari": lambda folder: f"minari:{{}}/{minari_by_hand(folder / 'set').name}",
    "d4rl": lambda folder: f"d4rl:{{}}/{write_flat(folder / 'hopper.hdf5').name}",
    "dqn-replay": games,
    "aloha": lambda folder: f"aloha:{{}}/{write_folder(folder / 'cube', compress=True).name}",
    "robomimic": demos,
    "zarr": lambda folder: f"zarr:{{}}/{write_replay(folder / 'pusht.zarr', form=3).name}",
    "zarr-zip": lambda folder: f"zarr:{{}}/{zipped(write_replay(folder / 'pusht.zarr')).name}",
    "parquet": tables,
    "parquet-saved": saved,
    "parquet-timesteps": rows,
    "parquet-texts": lambda folder: (
        f"parquet:{{}}/{write_stream(folder / 'wiki.arrow', pa.table({'text': ['one', 'two', 'three']}), 1).name}"
    ),
    "npz": lambda folder: f"npz:{{}}/{write_episodes(folder / 'kitchen').name}",
    "npz-stacked": stacked,
    "npz-folders": folders,
    "mcap": recordings,
    "rosbag": bags,
}
