"""The folder of a run: its files, its weights on disk, and loading a model back.

RUN/config.json            the model's sizes
RUN/run.json               everything else that the run depends on
RUN/tokenizer/             spec.json and text.model: the tasks it was trained on, and the meaning of every id
RUN/metrics.jsonl          a line for each logged step; tensorboard/ holds the same
RUN/checkpoints/last/      the last few checkpoints: weights and optimizer
RUN/checkpoints/best/      the checkpoint with the lowest loss on held-out episodes
"""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Literal

import tensorflow as tf

from gato_model.config import GatoConfig
from gato_model.network.model import Gato
from gato_tokenize.storage.durable import durable_file

CONFIG, RUN, METRICS, CHECKPOINTS = "config.json", "run.json", "metrics.jsonl", "checkpoints"


class CheckpointError(RuntimeError):
    """The checkpoint is missing, or belongs to another model."""


class Checkpoints:
    """The checkpoints of a run (weights, optimizer and step): the last `keep`, and the best.

    A checkpoint that was being written when the process died is never read, because its name is recorded after its
    last byte. Only the first of several workers writes into the folder. The others must take part in saving; their
    copies go to a scratch folder.
    """

    def __init__(self, folder: Path, model: Gato, optimizer: Any, keep: int = 3, chief: bool = True) -> None:
        self._scratch = None if chief else tempfile.mkdtemp(prefix="gato-worker-")
        root = folder / CHECKPOINTS
        self._checkpoint = tf.train.Checkpoint(weights=_weights(model), optimizer=optimizer)
        self._read = _manager(self._checkpoint, root / "last", keep)
        self._last = self._read if chief else _manager(self._checkpoint, Path(str(self._scratch)) / "last", 1)
        best = root / "best" if chief else Path(str(self._scratch)) / "best"
        self._best = _manager(self._checkpoint, best, 1)

    def save(self, step: int, best: bool = False) -> None:
        """Write a checkpoint. Raises OSError if that fails, for example on a full disk; earlier checkpoints stay."""
        try:
            (self._best if best else self._last).save(checkpoint_number=step)
        except tf.errors.OpError as error:
            raise OSError(f"the checkpoint of step {step} cannot be written: {error.message}") from error

    def restore(self) -> int | None:
        """Read the newest checkpoint into model and optimizer. Returns its step, None if there is no checkpoint.

        Raises CheckpointError if it belongs to another model.
        """
        path = tf.train.latest_checkpoint(self._read.directory)
        if path is None:
            return None
        _restore(self._checkpoint, path)
        return step_of(path)

    def close(self) -> None:
        """Remove the scratch folder."""
        if self._scratch:
            shutil.rmtree(self._scratch, ignore_errors=True)


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


def load(run: "str | os.PathLike[str]", which: Literal["best", "last"] = "best", **options: Any) -> Gato:
    """Load the model of a run's folder with the weights of its best checkpoint, or of its last if it has no best.

    `options` go to `Gato`, for example `dtype="mixed_bfloat16"`. Raises CheckpointError if there is no checkpoint.
    """
    folder = Path(run)
    if not (folder / CONFIG).is_file():
        raise CheckpointError(f"{folder} is not the folder of a run: it has no {CONFIG}")
    model = Gato(GatoConfig.from_json((folder / CONFIG).read_text()), **options)
    load_weights(model, folder, which)
    return model


def load_weights(model: Gato, run: Path, which: Literal["best", "last"] = "best") -> None:
    """Read a run's weights into a model of the same sizes; dropout, stochastic depth and the like may differ."""
    found = [tf.train.latest_checkpoint(str(run / CHECKPOINTS / name)) for name in dict.fromkeys((which, "last"))]
    path = next(filter(None, found), None)
    if path is None:
        raise CheckpointError(f"{run} holds no checkpoint yet: it has not trained to its first --save-every")
    _restore(tf.train.Checkpoint(weights=_weights(model)), path, partly=True)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file that survives a crash: it is there whole or not at all."""
    with durable_file(path) as file:
        file.write((json.dumps(content, indent=1, sort_keys=True) + "\n").encode())
