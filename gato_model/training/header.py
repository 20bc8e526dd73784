"""The first lines of a run: the model, the data, what a step is, and where it is computed."""

from typing import Any

import tensorflow as tf

from gato_model.training.settings import TrainSettings
from gato_tokenize import Dataset
from gato_tokenize.output import counted


def header(settings: TrainSettings, model: Any, strategy: Any) -> list[str]:
    """Return the lines that a run prints before its first step."""
    table = settings.config.vocabulary_size * settings.config.width
    tokens = settings.batch_size * settings.config.sequence_length
    rows, length = counted(settings.batch_size, "sequence"), counted(settings.config.sequence_length, "token")
    steps = counted(settings.steps, "step") + (" is" if settings.steps == 1 else " are")
    return [
        f"model: {model.count_params():,} parameters, {table:,} of them the table of tokens; {settings.dtype}",
        *_data(settings),
        f"a step: {rows} of {length}, {tokens:,} in all; {steps} {settings.steps * tokens:,} tokens",
        f"devices: {', '.join(_devices(strategy))}",
    ]


def _devices(strategy: Any) -> list[str]:
    """Name what computes: the device of each local replica, or the one that TensorFlow takes by itself."""
    if isinstance(strategy, tf.distribute.MirroredStrategy | tf.distribute.MultiWorkerMirroredStrategy):
        names = [name.rpartition("device:")[2] for name in strategy.extended.worker_devices]
        more = strategy.num_replicas_in_sync - len(names)
        return names + ([f"{more} on other workers"] if more else [])
    device = (tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU"))[0]
    return [device.name.rpartition("device:")[2]]


def _data(settings: TrainSettings) -> list[str]:
    whole = sum(share.weight for share in settings.data)
    lines = []
    for share in settings.data:
        dataset = Dataset.open(share.path)
        split = dataset.manifest["splits"]["train"]
        holds = f"{counted(split['records'], 'record')}, {counted(split['tokens'], 'token')}"
        lines.append(f"data: {share.path}: {holds}; {share.weight / whole:.1%} of the rows")
    return lines
