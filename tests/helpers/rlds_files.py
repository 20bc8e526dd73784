"""Small RLDS datasets: written by hand, so that any part of a record can be wrong, or by TFDS itself."""

import io
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gato_tokenize.storage.example import encode_example
from gato_tokenize.storage.tfrecord import frame

SIDES = (32, 48, 3)


def tensor(dtype: str = "float32", *shape: int, **said: Any) -> dict[str, Any]:
    dimensions = {"dimensions": [str(side) for side in shape]} if shape else {}
    return {"tensor": {"dtype": dtype, "encoding": "none", "shape": dimensions, **said}}


def image(*shape: int, dtype: str = "uint8") -> dict[str, Any]:
    return {"image": {"dtype": dtype, "encodingFormat": "png", "shape": {"dimensions": [str(side) for side in shape]}}}


def sequence(feature: Any, length: int = -1) -> dict[str, Any]:
    return {"sequence": {"feature": feature, "length": str(length)}}


def group(**features: Any) -> dict[str, Any]:
    return {"featuresDict": {"features": features}}


TEXT: dict[str, Any] = {"text": {}}
STEP = {
    "observation": group(eye=image(*SIDES), state=tensor("float32", 3)),
    "action": tensor("float32", 2),
    "reward": tensor(),
    "is_first": tensor("bool"),
    "is_last": tensor("bool"),
    "is_terminal": tensor("bool"),
    "language_instruction": TEXT,
}


def picture(pixels: Any, form: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def eye(seed: int) -> bytes:
    return picture(np.random.default_rng(seed).integers(0, 256, SIDES, dtype=np.uint8))


def record(steps: int, seed: int = 0, **features: Any) -> dict[str, Any]:
    """The features of an episode of `STEP`, whose last step ends it; `features` replace or add some."""
    flags = np.zeros((3, steps), np.int64)
    flags[0, :1] = flags[1:, -1:] = 1
    values = {
        "steps/observation/eye": [eye(seed + i) for i in range(steps)],
        "steps/observation/state": (seed + np.arange(3 * steps) / 10).astype(np.float32),
        "steps/action": (np.arange(2 * steps) / 100).astype(np.float32),
        "steps/reward": np.ones(steps, np.float32),
        "steps/is_first": flags[0],
        "steps/is_last": flags[1],
        "steps/is_terminal": flags[2],
        "steps/language_instruction": [f"lift block {seed}".encode()] * steps,
    }
    return {key: value for key, value in {**values, **features}.items() if value is not None}


def by_hand(
    folder: Path,
    splits: Mapping[str, list[list[dict[str, Any]]]] | None = None,
    step: Mapping[str, Any] | None = None,
    episode: Mapping[str, Any] | None = None,
    dataset: str = "toy",
    **info: Any,
) -> Path:
    """Write NAME/VERSION with the records of each shard of each split; returns its path.

    step: features of a timestep besides `STEP`, None to leave one out. episode: features beside `steps`. info: entries
    of dataset_info.json, None to leave one out. dataset: its name.
    """
    splits = splits or {"train": [[record(3, 0), record(4, 10)], [record(2, 20)]], "val": [[record(3, 30)]]}
    folder.mkdir(parents=True, exist_ok=True)
    fields = {name: feature for name, feature in {**STEP, **(step or {})}.items() if feature}
    features = group(steps=sequence(group(**fields)), **(episode or {}))
    (folder / "features.json").write_text(json.dumps(features))
    listed = []
    for split, shards in splits.items():
        paths = [folder / f"{dataset}-{split}.tfrecord-{i:05d}-of-{len(shards):05d}" for i in range(len(shards))]
        for path, records in zip(paths, shards, strict=True):
            path.write_bytes(b"".join(frame(encode_example(one)) for one in records))
        size = sum(path.stat().st_size for path in paths)
        listed.append({"name": split, "numBytes": str(size), "shardLengths": [str(len(records)) for records in shards]})
    said = {"name": dataset, "version": folder.name, "fileFormat": "tfrecord", "splits": listed, **info}
    content = {name: value for name, value in said.items() if value is not None}
    (folder / "dataset_info.json").write_text(json.dumps(content))
    return folder


def packed(array: Any, compressed: bool = True) -> bytes:
    raw: bytes = np.asarray(array).tobytes()
    return zlib.compress(raw) if compressed else raw


def tfds_features() -> Any:
    """A step with one of every kind of feature that datasets use."""
    import tensorflow_datasets as tfds

    f = tfds.features
    observation = {
        "eye": f.Image(shape=SIDES, encoding_format="jpeg"),
        "depth": f.Image(shape=(32, 48, 1), dtype=np.uint16, encoding_format="png"),
        "state": f.Tensor(shape=(3,), dtype=np.float32),
        "cloud": f.Tensor(shape=(4, 2), dtype=np.float32, encoding="zlib"),
        "raw": f.Tensor(shape=(2,), dtype=np.uint8, encoding="bytes"),
        "any": f.Tensor(shape=(None, None), dtype=np.float32, encoding="zlib"),
        "ragged": f.Sequence(np.float32),
        "square": f.Sequence(f.Sequence(np.int64)),
        "words": f.Sequence(f.Text()),
        "pairs": f.Sequence({"x": np.float32, "name": f.Text()}),
        "label": f.ClassLabel(num_classes=5),
        "bounded": f.Tensor(shape=(2,), dtype=np.int32, minimum=0, maximum=3),
        "big": f.Scalar(np.uint64),
        "height": f.Image(shape=(4, 4, 1), dtype=np.float32),
        "goal_embedding": f.Tensor(shape=(512,), dtype=np.float32),
    }
    step = {
        "observation": observation,
        "action": f.Tensor(shape=(2,), dtype=np.float32),
        "reward": f.Scalar(np.float32),
        **{name: f.Scalar(np.bool_) for name in ("is_first", "is_last", "is_terminal")},
        "language_instruction": f.Text(),
    }
    return f.FeaturesDict({"steps": f.Dataset(step), "episode_metadata": {"success": np.bool_, "file_path": f.Text()}})


def tfds_steps(steps: int, seed: int) -> Iterator[dict[str, Any]]:
    generator = np.random.default_rng(seed)
    for i in range(steps):
        observation = {
            "eye": generator.integers(0, 256, SIDES, dtype=np.uint8),
            "depth": generator.integers(0, 65536, (32, 48, 1), dtype=np.uint16),
            "state": generator.normal(size=3).astype(np.float32),
            "cloud": generator.normal(size=(4, 2)).astype(np.float32),
            "raw": generator.integers(0, 256, 2, dtype=np.uint8),
            "any": generator.normal(size=(2, 3)).astype(np.float32),
            "ragged": generator.normal(size=i + 1).astype(np.float32),
            "square": [[1, i], [3, 4], [5, 6]],
            "words": ["a", "b"][: i % 3],
            "pairs": {"x": [1.0, i], "name": ["x", "y"]},
            "label": i % 5,
            "bounded": np.array([0, 3], np.int32),
            "big": np.uint64(2**63 + 5),
            "height": np.ones((4, 4, 1), np.float32),
            "goal_embedding": np.ones(512, np.float32),
        }
        last = i == steps - 1
        yield {
            "observation": observation,
            "action": generator.uniform(-1, 1, 2).astype(np.float32),
            "reward": float(i),
            "is_first": i == 0,
            "is_last": last,
            "is_terminal": last,
            "language_instruction": f"lift block {seed}",
        }


def by_tfds(folder: Path, **splits: int) -> Path:
    """Write a dataset of so many episodes a split with TFDS; returns its version's folder."""
    import tensorflow_datasets as tfds

    def examples(split: str, count: int) -> list[tuple[int, Any]]:
        seeds = range(100 * len(split), 100 * len(split) + count)
        metadata = {"success": True, "file_path": split}
        return [(seed, {"steps": list(tfds_steps(3 + seed % 3, seed)), "episode_metadata": metadata}) for seed in seeds]

    builder = tfds.dataset_builders.AdhocBuilder(
        name="toy_set",
        version="1.0.0",
        features=tfds_features(),
        split_datasets={split: examples(split, count) for split, count in splits.items()},
        data_dir=folder,
    )
    builder.download_and_prepare()
    return Path(builder.data_path)
