"""The command `train`: train a model on converted datasets, or go on with a run."""

import argparse
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import tensorflow as tf

from gato_model.config import GatoConfig
from gato_model.data.share import Share
from gato_model.training.checkpoint import CONFIG, CheckpointError, check_model
from gato_model.training.optimizer import OptimizerSettings, usual_warmup
from gato_model.training.run import train
from gato_model.training.run_folder import RefusedError, TrainingError
from gato_model.training.settings import RunOptions, TrainSettings
from gato_tokenize import CorruptRecordError, Dataset
from gato_tokenize.output import EXIT_FAILED, EXIT_REFUSED, Output

FINE_TUNING = {"batch_size": 64, "steps": 10_000}  # appendix D


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Run the command and return its exit code: 0, 1 if it failed while running, 2 if it was refused before."""
    strategy = local_strategy()  # must come before any other use of TensorFlow
    try:
        options = dataclasses.replace(run_options_of(arguments), on_line=output.line)
        settings = fitted(settings_of(arguments), arguments.set)
    except (ValueError, OSError, KeyError, CheckpointError) as error:
        return output.error(error)
    try:
        train(settings, arguments.out, options, strategy)
    except (RefusedError, FileNotFoundError, KeyError, ValueError) as error:
        return output.error(error, EXIT_FAILED if isinstance(error, CorruptRecordError) else EXIT_REFUSED)
    except (TrainingError, CheckpointError, OSError) as error:
        return output.error(error, EXIT_FAILED)
    except tf.errors.OpError as error:  # another worker is gone, so the collective operations fail
        return output.error(f"{error.message[:300]}\n{how_to_resume(arguments)}", EXIT_FAILED)
    output.line({"run": arguments.out, "steps": settings.steps})
    return 0


def local_strategy() -> Any:
    """Return the strategy of this process: TF_CONFIG's workers, or all local GPUs; None for TensorFlow's one device."""
    if "TF_CONFIG" in os.environ:
        return tf.distribute.MultiWorkerMirroredStrategy()
    gpus = tf.config.list_logical_devices("GPU")
    return tf.distribute.MirroredStrategy([gpu.name for gpu in gpus]) if len(gpus) > 1 else None


def how_to_resume(arguments: argparse.Namespace) -> str:
    """Say how to go on after an interruption."""
    return f"the same command (on every worker) goes on from the last checkpoint in {arguments.out}"


def settings_of(arguments: argparse.Namespace) -> TrainSettings:
    """Make the run's settings from the command's options. Raises ValueError for a bad one."""
    fine = arguments.fine_tune is not None
    steps = arguments.steps or (FINE_TUNING["steps"] if fine else None)  # none of these numbers is 0
    if steps is None:
        raise ValueError("--steps is needed, unless with --fine-tune")
    shares = tuple(_share(text, arguments.min_expert_share) for text in arguments.data)
    usual = FINE_TUNING["batch_size"] if fine else 512
    batch = usual if arguments.batch_size is None else arguments.batch_size
    return TrainSettings(
        shares, _config(arguments), _optimizer(arguments, steps, fine), steps, batch, arguments.seed,
        arguments.prompt_share, arguments.history_dropout, arguments.dtype, str(arguments.fine_tune or ""),
        arguments.ordered_start, arguments.smoothing,
    )  # fmt: skip


def fitted(settings: TrainSettings, sizes: list[str]) -> TrainSettings:
    """Give the model the rows of ids and of local positions that its data needs, where --set (`sizes`) is silent.

    A model that is fine-tuned keeps its rows. Raises FileNotFoundError if a folder holds no dataset.
    """
    if settings.fine_tune:
        return settings
    tokenizers = [Dataset.open(share.path).tokenizer for share in settings.data]
    positions = [tokenizer.local_positions for tokenizer in tokenizers]
    needed = {
        "vocabulary_size": tokenizers[0].vocabulary.size,  # all are alike, or `train` refuses them
        "local_positions": max(settings.config.local_positions, *positions),
    }
    given = {text.partition("=")[0] for text in sizes}
    changes: dict[str, Any] = {name: rows for name, rows in needed.items() if name not in given}
    return dataclasses.replace(settings, config=dataclasses.replace(settings.config, **changes))


def run_options_of(arguments: argparse.Namespace) -> RunOptions:
    """Make the run's options from the command's. Raises ValueError for a bad one."""
    return RunOptions(
        arguments.log_every, arguments.save_every, arguments.keep, arguments.evaluate_every,
        arguments.evaluation_batches, arguments.accumulate, arguments.jit, arguments.rematerialize,
        arguments.read_threads, not arguments.quiet,
    )  # fmt: skip


def _share(text: str, min_expert_share: float | None) -> Share:
    """Parse DIR or DIR:WEIGHT; an existing folder may have a colon in its name, and an address begins with one."""
    path, colon, weight = text.rpartition(":")
    if not colon or "/" in weight or Path(text).exists():
        return Share(text, 1.0, min_expert_share)
    try:
        return Share(path, float(weight), min_expert_share)
    except ValueError as error:
        raise ValueError(f"--data {text}: {error}") from error


def _config(arguments: argparse.Namespace) -> GatoConfig:
    changes: dict[str, Any] = {}
    for text in arguments.set:
        name, equals, number = text.partition("=")
        if not equals or name not in {field.name for field in dataclasses.fields(GatoConfig)}:
            known = ", ".join(field.name for field in dataclasses.fields(GatoConfig))
            raise ValueError(f"--set {text}: expected NAME=NUMBER with NAME one of {known}")
        try:
            changes[name] = json.loads(number)
        except ValueError as error:
            raise ValueError(f"--set {text}: {number!r} is no number") from error
    if arguments.sequence_length is not None:
        changes["sequence_length"] = arguments.sequence_length
    if arguments.fine_tune is None:
        preset: GatoConfig = getattr(GatoConfig, arguments.preset or "tiny")(**changes)
        return preset
    if arguments.preset:
        raise ValueError("--preset and --fine-tune: a fine-tuned model has the sizes of the run that it starts from")
    check_model(arguments.fine_tune)
    before = GatoConfig.from_json((arguments.fine_tune / CONFIG).read_text(encoding="utf-8"))
    return dataclasses.replace(before, **{"dropout": 0.1, "stochastic_depth": 0.0, **changes})


def _optimizer(arguments: argparse.Namespace, steps: int, fine: bool) -> OptimizerSettings:
    given = {
        "learning_rate": arguments.learning_rate, "warmup_steps": arguments.warmup_steps,
        "weight_decay": arguments.weight_decay, "clip_norm": arguments.clip_norm,
        "final_fraction": arguments.final_rate,
    }  # fmt: skip
    changes = {name: value for name, value in given.items() if value is not None}
    if fine:
        scheduled = {"warmup_steps", "final_fraction"} & set(changes)  # the paper's rate is constant
        schedule = {"decay_steps": steps, "final_fraction": 1.0} if scheduled else {}
        return dataclasses.replace(OptimizerSettings.fine_tuning(), **schedule | changes)
    usual = OptimizerSettings(warmup_steps=usual_warmup(steps), decay_steps=steps)
    return dataclasses.replace(usual, **changes)
