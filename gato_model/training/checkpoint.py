"""The folder of a run: what it is, its weights on disk, and loading a model back.

RUN/config.json            the model's sizes
RUN/run.json               everything else that the run depends on
RUN/tokenizer/             spec.json and text.model: the tasks it was trained on, and every number behind an id
RUN/metrics.jsonl          a line a logged step; tensorboard/ holds the same
RUN/checkpoints/last/      the last few, weights and optimizer
RUN/checkpoints/best/      the one of the lowest loss on held-out episodes
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
    """A checkpoint that is missing, or is not of this model."""


class Checkpoints:
    """Weights, optimizer and step of a run: the last `keep`, and the best.

    One that was being written when the process died is never taken for whole: its name is noted after its last byte.
    Of several workers the first alone writes into the folder; the others must take part, and their copies are thrown
    away.
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
        """Raises OSError where it cannot be written, for example on a full disk; earlier ones stay."""
        try:
            (self._best if best else self._last).save(checkpoint_number=step)
        except tf.errors.OpError as error:
            raise OSError(f"the checkpoint of step {step} cannot be written: {error.message}") from error

    def restore(self) -> int | None:
        """The step of the newest checkpoint, now in the model and the optimizer; None where there is none.

        Raises CheckpointError where it is not of this model.
        """
        path = tf.train.latest_checkpoint(self._read.directory)
        if path is None:
            return None
        _restore(self._checkpoint, path)
        return step_of(path)

    def close(self) -> None:
        if self._scratch:
            shutil.rmtree(self._scratch, ignore_errors=True)


def step_of(path: str) -> int:
    return int(path.rpartition("-")[2])


def _weights(model: Gato) -> dict[str, Any]:
    """By number. Given the model itself, TensorFlow does not find the layers that Keras keeps in lists, and restores
    the rest without a word."""
    return {f"{number:04d}": variable.value for number, variable in enumerate(model.weights)}


def _manager(checkpoint: Any, folder: Path, keep: int) -> Any:
    return tf.train.CheckpointManager(checkpoint, str(folder), keep, checkpoint_name="step")


def _restore(checkpoint: Any, path: str, partly: bool = False) -> None:
    """Every variable of the model must be found: one restored before the model is built would silently keep its
    initial weights."""
    try:
        status = checkpoint.restore(path)
        status.assert_existing_objects_matched()
        if partly:
            status.expect_partial()  # the optimizer's part is not wanted
        else:
            status.assert_consumed()
    except (AssertionError, ValueError, tf.errors.OpError) as error:
        raise CheckpointError(f"{path} is not a checkpoint of this model: {str(error)[:500]}") from error


def load(run: "str | os.PathLike[str]", which: Literal["best", "last"] = "best", **options: Any) -> Gato:
    """The model of a run's folder, with the weights of its best checkpoint (of its last, where it kept no best).

    `options` go to `Gato`, for example `dtype="mixed_bfloat16"`. Raises CheckpointError where there is none.
    """
    folder = Path(run)
    if not (folder / CONFIG).is_file():
        raise CheckpointError(f"{folder} is no folder of a run: it has no {CONFIG}")
    model = Gato(GatoConfig.from_json((folder / CONFIG).read_text()), **options)
    load_weights(model, folder, which)
    return model


def load_weights(model: Gato, run: Path, which: Literal["best", "last"] = "best") -> None:
    """A run's weights into a model of the same sizes; dropout, stochastic depth and the like may differ."""
    found = [tf.train.latest_checkpoint(str(run / CHECKPOINTS / name)) for name in dict.fromkeys((which, "last"))]
    path = next(filter(None, found), None)
    if path is None:
        raise CheckpointError(f"{run} holds no checkpoint yet: it has not trained to its first --save-every")
    _restore(tf.train.Checkpoint(weights=_weights(model)), path, partly=True)


def write_json(path: Path, content: Any) -> None:
    with durable_file(path) as file:
        file.write((json.dumps(content, indent=1, sort_keys=True) + "\n").encode())
