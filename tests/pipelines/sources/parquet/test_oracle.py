"""ParquetSource beside the `datasets` library: what it wrote, and what it reads again."""

import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conversions import png
from limited import episodes_of, open_anew, read_source
from PIL import Image

from gato_tokenize import DiscreteSpec, Episode

datasets = pytest.importorskip("datasets")
episodes = functools.partial(episodes_of, "parquet")
STEPS = (3, 1, 5, 2)


def made() -> Any:
    """Episodes with every feature that holds pictures, arrays, classes, texts or numbers."""
    generator = np.random.default_rng(0)
    features = datasets.Features(
        {
            "image_observations": datasets.Sequence(datasets.Image()),
            "continuous_observations": datasets.Sequence(datasets.Sequence(datasets.Value("float32"))),
            "grid": datasets.Sequence(datasets.Array2D((2, 3), "int8")),
            "discrete_actions": datasets.Sequence(datasets.ClassLabel(names=["left", "right", "fire"])),
            "rewards": datasets.Sequence(datasets.Value("float32")),
            "instruction": datasets.Value("string"),
        }
    )
    pictures = [[{"bytes": png(10 * i + j, (32, 32)), "path": None} for j in range(n)] for i, n in enumerate(STEPS)]
    columns = {
        "image_observations": pictures,
        "continuous_observations": [generator.normal(size=(n, 4)).astype(np.float32).tolist() for n in STEPS],
        "grid": [generator.integers(-9, 9, (n, 2, 3), dtype=np.int8).tolist() for n in STEPS],
        "discrete_actions": [generator.integers(0, 3, n).tolist() for n in STEPS],
        "rewards": [generator.normal(size=n).astype(np.float32).tolist() for n in STEPS],
        "instruction": ["lift", "push", "pull", "grüße"],
    }
    return datasets.Dataset.from_dict(columns, features=features)


def saved(folder: Path) -> Path:
    made().save_to_disk(folder / "saved", num_shards=2)
    return folder / "saved"


def as_parquet(folder: Path) -> Path:
    made().to_parquet(folder / "a.parquet", batch_size=3)
    return folder / "a.parquet"


@pytest.mark.parametrize("write", [saved, as_parquet])
def test_every_value_is_that_of_datasets(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    found = episodes(write(tmp_path))
    assert len(found) == len(STEPS)
    for one, row in zip(found, made(), strict=True):
        assert one.metadata.instruction == row["instruction"]
        assert one.spec.fields["action"] == DiscreteSpec(3) and one.fields["action"].tolist() == row["discrete_actions"]
        np.testing.assert_array_equal(one.fields["observation/continuous"], row["continuous_observations"])
        np.testing.assert_array_equal(one.fields["observation/grid"], row["grid"])
        np.testing.assert_array_equal(one.rewards, np.float32(row["rewards"]))
        for data, picture in zip(one.fields["observation/image"], row["image_observations"], strict=True):
            np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), np.asarray(picture))


def test_the_splits_of_a_dataset_dict(tmp_path: Path) -> None:
    split = made().train_test_split(0.5, seed=0)
    split.save_to_disk(tmp_path / "saved")
    source = open_anew("parquet", tmp_path / "saved")
    results = read_source(source)
    assert source.splits() == ("train", "test") and all(isinstance(one, Episode) for _, one in results)
    for name in ("train", "test"):
        texts = [one.metadata.instruction for candidate, one in results if candidate.split == name]
        assert texts == split[name]["instruction"]


def test_the_cache_of_a_dataset_is_read_as_well(tmp_path: Path) -> None:
    """`load_dataset` keeps streams of Arrow; what `map` adds to them is no part of the dataset."""
    made().to_parquet(tmp_path / "train-00000-of-00001.parquet")
    loaded = datasets.load_dataset("parquet", data_files=str(tmp_path / "*.parquet"), cache_dir=str(tmp_path / "cache"))
    (file,) = loaded["train"].cache_files
    assert [one.num_steps for one in episodes(Path(file["filename"]))] == list(STEPS)
    assert open_anew("parquet", Path(file["filename"])).splits() == ("train",)
