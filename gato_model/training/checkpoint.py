"""The folder of a run: its files, its weights on disk, and loading a model back, also from an export.

RUN/config.json            the model's sizes
RUN/run.json               everything else that the run depends on
RUN/tokenizer/             spec.json and text.model: the tasks it was trained on, and the meaning of every id
RUN/README.md              the run's card: data, parameters, steps, losses, the command
RUN/metrics.jsonl          a line for each logged step; tensorboard/ holds the same
RUN/checkpoints/last/      the last few checkpoints: weights and optimizer
RUN/checkpoints/best/      the checkpoint with the lowest loss on held-out episodes
"""

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import safetensors
import safetensors.numpy
import tensorflow as tf

from gato_model.config import GatoConfig
from gato_model.network.model import Gato
from gato_model.network.named_weights import named_weights
from gato_tokenize.storage.durable import durable_file
from gato_tokenize.storage.place import WEIGHTS, describe, local_path

CONFIG, METRICS, CHECKPOINTS = "config.json", "metrics.jsonl", "checkpoints"


class CheckpointError(RuntimeError):
    """The checkpoint is missing, or belongs to another model."""


class Checkpoints:
    """The checkpoints of a run (weights, optimizer and step): the last `keep`, and the best.

    A checkpoint that was being written when the process died is never read, because its name is recorded after its
    last byte. Only the first of several workers writes into the folder. The others must take part in saving; their
    copies go to a scratch folder.
    """

    def __init__(self, folder: Path, model: Gato, optimizer: Any, keep: int = 3, chief: bool = True) -> None:
        self._open, self._folder = contextlib.ExitStack(), folder / CHECKPOINTS
        if chief:
            self._folder.mkdir(parents=True, exist_ok=True)
        root = Path(self._open.enter_context(literal_path(self._folder)))
        scratch = root if chief else Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="gato-worker-")))
        self._checkpoint = tf.train.Checkpoint(weights=_weights(model), optimizer=optimizer)
        self._read = _manager(self._checkpoint, root / "last", keep)
        self._last = self._read if chief else _manager(self._checkpoint, scratch / "last", 1)
        self._best = _manager(self._checkpoint, scratch / "best", 1)

    def save(self, step: int, best: bool = False) -> None:
        """Write a checkpoint and find it again, with every variable in it.

        Raises OSError if that fails, for example on a full disk; earlier checkpoints stay.
        """
        manager = self._best if best else self._last
        try:
            path = manager.save(checkpoint_number=step)
            written = len(tf.train.load_checkpoint(path).get_variable_to_shape_map())
        except tf.errors.OpError as error:
            raise OSError(f"the checkpoint of step {step} cannot be written: {error.message}") from error
        if tf.train.latest_checkpoint(manager.directory) != path or written < len(self._checkpoint.weights):
            raise OSError(f"the checkpoint of step {step} was written to {self._folder}, but cannot be read back")

    def restore(self) -> int | None:
        """Read the newest checkpoint into model and optimizer. Returns its step, None if there is no checkpoint.

        Raises CheckpointError if it belongs to another model, or if there are checkpoints of which none can be read.
        """
        path = tf.train.latest_checkpoint(self._read.directory)
        if path is None:
            last = self._folder / "last"
            if last.is_dir() and any(name.endswith(".index") for name in os.listdir(last)):
                raise CheckpointError(
                    f"{last} holds checkpoints, but its file `checkpoint`, which names the newest, is missing, damaged,"
                    " or names one that is not there: restore it, or give another --out"
                )
            return None
        _restore(self._checkpoint, path)
        return step_of(path)

    def close(self) -> None:
        """Remove the scratch folder."""
        self._open.close()


@contextlib.contextmanager
def literal_path(folder: Path) -> Iterator[str]:
    """Yield a path to `folder` that TensorFlow takes literally: a link to it where its own path is a pattern.

    TensorFlow matches the paths of checkpoints, so it would not find `r[1]`, and with `r*` would delete the old
    checkpoints of `run`, too.
    """
    if not re.search(r"[][*?\\]", str(folder)):
        yield str(folder)
        return
    with tempfile.TemporaryDirectory(prefix="gato-link-") as place:
        link = Path(place) / "folder"
        link.symlink_to(folder.absolute(), target_is_directory=True)
        yield str(link)


def best_step(run: Path) -> int | None:
    """Find the step of a run's best checkpoint, None if it has none."""
    with literal_path(run / CHECKPOINTS) as folder:
        path = tf.train.latest_checkpoint(f"{folder}/best")
    return None if path is None else step_of(path)


def step_of(path: str) -> int:
    """Read the step from a checkpoint's path, such as `RUN/checkpoints/last/step-500`."""
    return int(path.rpartition("-")[2])


def _weights(model: Gato) -> dict[str, Any]:
    """Name the weights by number.

    Given the model itself, TensorFlow would miss the layers that Keras keeps in lists, and restore the rest silently.
    """
    return {f"{number:04d}": variable.value for number, variable in enumerate(model.weights)}


def _manager(checkpoint: Any, folder: Path, keep: int) -> Any:
    return tf.train.CheckpointManager(checkpoint, str(folder), keep, checkpoint_name="step")


def _restore(checkpoint: Any, path: str, partly: bool = False) -> None:
    """Restore every variable or raise CheckpointError: TensorFlow would silently leave the others as they are."""
    try:
        status = checkpoint.restore(path)
        status.assert_existing_objects_matched()
        if partly:
            status.expect_partial()  # the optimizer is not restored
        else:
            status.assert_consumed()
    except (AssertionError, ValueError, tf.errors.OpError) as error:
        raise CheckpointError(f"{path} is not a checkpoint of this model: {str(error)[:500]}") from error


def check_model(folder: Path) -> None:
    """Raise CheckpointError, which says what the folder is, if it holds neither a run nor an export."""
    if not (folder / CONFIG).is_file():
        raise CheckpointError(f"{folder} is not the folder of a training run or an export: {describe(folder)}")


def load(run: "str | os.PathLike[str]", which: Literal["best", "last"] = "best", **options: Any) -> Gato:
    """Load the model of an export, or of a run: with the weights of its best checkpoint, its last if it has no best.

    `options` go to `Gato`, for example `dtype="mixed_bfloat16"`; without it, the model computes in float32, whatever
    ~/.keras/keras.json says. Raises CheckpointError if there are no weights, or those of another model.
    """
    folder = local_path(run)
    check_model(folder)
    model = Gato(GatoConfig.from_json((folder / CONFIG).read_text(encoding="utf-8")), **{"dtype": "float32", **options})
    load_weights(model, folder, which)
    return model


def load_weights(model: Gato, run: Path, which: Literal["best", "last"] = "best") -> None:
    """Read the weights of a run or an export into a model of the same sizes; dropout and the like may differ."""
    if (run / WEIGHTS).is_file():
        _load_export(model, run / WEIGHTS)
        return
    with literal_path(run / CHECKPOINTS) as folder:
        found = [tf.train.latest_checkpoint(f"{folder}/{name}") for name in dict.fromkeys((which, "last"))]
        path = next(filter(None, found), None)
        if path is None:
            raise CheckpointError(f"{run} holds no checkpoint yet: it has not trained to its first --save-every")
        _restore(tf.train.Checkpoint(weights=_weights(model)), path, partly=True)


def _load_export(model: Gato, file: Path) -> None:
    variables = named_weights(model)
    try:
        weights = safetensors.numpy.load_file(file)
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{file} is damaged, or no safetensors file: {error}") from error
    shapes = {name: tuple(array.shape) for name, array in weights.items()}
    wrong = sorted(set(shapes.items()) ^ {(name, tuple(variable.shape)) for name, variable in variables.items()})
    if wrong:
        name, shape = wrong[0]
        raise CheckpointError(
            f"{file} does not hold the weights of the model that {CONFIG} beside it describes: {len(wrong)} names or"
            f" shapes differ, first {name} {list(shape)}"
        )
    for name, variable in variables.items():
        variable.assign(weights[name])


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file that survives a crash: it is there whole or not at all."""
    with durable_file(path) as file:
        file.write((json.dumps(content, indent=1, sort_keys=True) + "\n").encode())
