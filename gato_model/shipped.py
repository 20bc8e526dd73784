"""The model that comes with this package, by its name."""

import os
from pathlib import Path

from gato_tokenize.storage.place import local_path

DEMO = "demo"


def model_path(folder: "str | os.PathLike[str]") -> Path:
    """Return the path of a model's folder; "demo" is the model that comes with this package, unless there is a folder
    of that name.

    >>> model_path("runs/mine").as_posix(), (model_path("demo") / "config.json").is_file()
    ('runs/mine', True)

    Raises AddressError for an address such as `s3://bucket/run`.
    """
    path = local_path(folder)
    return Path(__file__).with_name(DEMO) if str(path) == DEMO and not path.exists() else path
