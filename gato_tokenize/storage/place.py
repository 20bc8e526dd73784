"""Paths that a user gives: `local_path` refuses addresses, `describe` says what there is at a path that was given for
something else."""

import argparse
import os
from pathlib import Path

from gato_tokenize.storage.address import full, is_address
from gato_tokenize.storage.store_path import Place, StorePath

RUN = "run.json"  # the file of gato_model's training runs
DATASET = "manifest.json"
WEIGHTS = "model.safetensors"  # the file of gato_model's exports
_MARKS = {  # the first that is found counts: {file or folder inside: what the folder is}
    RUN: "the folder of a training run",
    DATASET: "a dataset",
    "_run/plan.json": "an unfinished conversion",
    WEIGHTS: "an exported model",
    "saved_model.pb": "a SavedModel, which plain TensorFlow loads",
    "tokenizer": "part of a dataset or of a run",
    "spec.json": "the tokenizer of a dataset or of a run: its parent is what to give",
}


class AddressError(argparse.ArgumentTypeError, ValueError):
    """An address stands where a local path is needed. argparse shows its message as it is."""


def local_path(path: "str | os.PathLike[str]") -> Path:
    """Return the path. Raises AddressError for one such as `s3://bucket/set`, which no local file system serves.

    >>> local_path("data/my_set/1.0.0").name
    '1.0.0'
    >>> local_path("s3://bucket/my_set/1.0.0")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    gato_tokenize.storage.place.AddressError: s3://bucket/my_set/1.0.0 is an address, and only local folders ...
    """
    if not is_address(path):
        return Path(path)
    scheme = full(path).partition(":")[0]
    raise AddressError(
        f"{full(path)} is an address, and only local folders and files are taken here: copy it to a local disk or mount"
        f" it there (a local folder of this very name is written ./{scheme}:/...)"
    )


def describe(path: Place) -> str:
    """Say what a path holds.

    >>> describe(Path("/nowhere")), describe(Path(__file__))
    ('there is nothing', 'it is a file')
    """
    if not path.exists():
        return "there is nothing"
    if not path.is_dir():
        return "it is a file"
    found = next((what for mark, what in _MARKS.items() if (path / mark).exists()), None)
    return f"it is {found}" if found else _described_by_children(path)


def _described_by_children(path: Place) -> str:
    if isinstance(path, StorePath):
        return "it is a folder of something else"
    for mark, what in ((DATASET, "datasets"), (RUN, "training runs")):
        inside = sorted({*path.glob(f"*/{mark}"), *path.glob(f"*/*/{mark}")})
        if inside:
            return f"it is a folder of {what}, for example {inside[0].parent}"
    return "it is a folder of something else" if any(path.iterdir()) else "it is an empty folder"
