"""A trained model in a folder: what a run left, or an export of it.

EXPORT/config.json         the model's sizes, as in a run
EXPORT/model.safetensors   weights by path, float32 or float16, such as `transformer.blocks.0.attention.query_key_value`
EXPORT/tokenizer/          the tasks it was trained on, and the meaning of every id, as in a run
"""

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from gato_model.network.model import Gato
from gato_model.network.named_weights import named_weights
from gato_model.shipped import model_path
from gato_model.training.checkpoint import CONFIG, load
from gato_tokenize.storage.dataset import DatasetTokenizer
from gato_tokenize.storage.durable import durable_file
from gato_tokenize.storage.place import WEIGHTS, describe, local_path

Which = Literal["best", "last"]


def save_pretrained(
    model: Gato, tokenizer: DatasetTokenizer, folder: "str | os.PathLike[str]", half: bool = False
) -> None:
    """Write a model and its tokenizer to a new folder, the weights last: they make it an export.

    half: write float16, half the size; a loaded model computes in float32 all the same.

    Raises FileExistsError if the folder is there and not empty, ValueError if float16 cannot hold a weight.
    """
    path = check_new(folder)
    weights = {name: variable.numpy() for name, variable in named_weights(model).items()}
    if half:
        weights = {name: _half(name, array) for name, array in weights.items()}
    path.mkdir(parents=True, exist_ok=True)
    (path / CONFIG).write_text(model.config.to_json(), encoding="utf-8")
    tokenizer.save(path)
    with durable_file(path / WEIGHTS) as file:
        file.write(safetensors.numpy.save(weights))


def _half(name: str, array: NDArray[np.float32]) -> NDArray[np.float16]:
    with np.errstate(over="ignore"):
        found = array.astype(np.float16)
    if not np.isfinite(found).all():
        raise ValueError(
            f"float16 cannot hold {name}: its largest value is {np.abs(array).max():g}; export it without --half"
        )
    return found


def check_new(folder: "str | os.PathLike[str]") -> Path:
    """Return the path of an export to be written. Raises FileExistsError if something is there."""
    path = local_path(folder)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise FileExistsError(f"{path} cannot become an export, because {describe(path)}: give another folder")
    return path


def load_model(folder: "str | os.PathLike[str]", which: Which = "best", **options: Any) -> Gato:
    """Load the model of a run or of an export, or of "demo", which comes with this package.

    which: the checkpoint of a run. options: of `Gato`, for example `dtype="mixed_bfloat16"`; float32 by default.

    Raises CheckpointError if the folder holds no model, or the weights of another.
    """
    return load(model_path(folder), which, **options)
