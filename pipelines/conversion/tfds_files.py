"""The two JSON files by which TensorFlow Datasets reads a dataset."""

from typing import Any

from gato_tokenize.storage.schema import FIELDS
from pipelines.conversion.plan import Plan

_TFDS = "tensorflow_datasets.core.features."


def features_json() -> dict[str, Any]:
    """Return TFDS's features.json for the table of record fields."""
    root: dict[str, Any] = {}
    for field in FIELDS:
        *branches, name = field.key.split("/")
        node = root
        for branch in branches:
            node = node.setdefault(branch, {})
        node[name] = _tensor(field.dtype, field.scalar)
    return _features_dict(root)


def _features_dict(node: dict[str, Any]) -> dict[str, Any]:
    features = {name: child if "pythonClassName" in child else _features_dict(child) for name, child in node.items()}
    return {"pythonClassName": _TFDS + "features_dict.FeaturesDict", "featuresDict": {"features": features}}


def _tensor(dtype: str, scalar: bool) -> dict[str, Any]:
    shape: dict[str, Any] = {} if scalar else {"dimensions": ["-1"]}
    number = scalar and dtype != "bytes"
    return {
        "pythonClassName": _TFDS + ("scalar.Scalar" if number else "tensor_feature.Tensor"),
        "tensor": {"dtype": "string" if dtype == "bytes" else dtype, "encoding": "none", "shape": shape},
    }


def dataset_info_json(plan: Plan, splits: dict[str, Any]) -> dict[str, Any]:
    """Return TFDS's dataset_info.json. TFDS refuses any key that it does not know."""
    return {
        "fileFormat": "tfrecord",
        "name": plan.dataset,
        "version": plan.version,
        "splits": [
            {
                "name": name,
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "numBytes": str(split["bytes"]),
                "shardLengths": [str(shard["records"]) for shard in split["shards"]],
            }
            for name, split in splits.items()
        ],
    }
