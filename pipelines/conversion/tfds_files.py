"""The two JSON files by which TensorFlow Datasets reads a dataset."""

from typing import Any

from gato_tokenize.storage.schema import FIELDS, RecordField
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
        node[name] = _tensor(field)
    return _features_dict(root)


def _features_dict(node: dict[str, Any]) -> dict[str, Any]:
    features = {name: child if "pythonClassName" in child else _features_dict(child) for name, child in node.items()}
    return {"pythonClassName": _TFDS + "features_dict.FeaturesDict", "featuresDict": {"features": features}}


def _tensor(field: RecordField) -> dict[str, Any]:
    """Return the feature of a field. TFDS reads an absent list as empty, and an absent optional scalar as an empty
    string, False, or the smallest number of its type."""
    shape: dict[str, Any] = {} if field.scalar else {"dimensions": ["-1"]}
    number = field.scalar and field.dtype != "bytes"
    dtype = field.tfds or ("string" if field.dtype == "bytes" else field.dtype)
    tensor: dict[str, Any] = {"dtype": dtype, "encoding": "none", "shape": shape}
    if field.scalar and field.absent:
        tensor["optional"] = True
    return {"pythonClassName": _TFDS + ("scalar.Scalar" if number else "tensor_feature.Tensor"), "tensor": tensor}


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
