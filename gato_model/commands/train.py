"""The command `train`: train a model on converted datasets, or go on with a run."""

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

import tensorflow as tf

from gato_model.config import GatoConfig
from gato_model.data.share import Share
from gato_model.training.checkpoint import CONFIG, CheckpointError
from gato_model.training.optimizer import OptimizerSettings
from gato_model.training.run import RefusedError, TrainingError, train
from gato_model.training.settings import RunOptions, TrainSettings
from gato_tokenize import CorruptRecordError, Dataset

PRESETS = {
    "tiny": GatoConfig.tiny, "small": GatoConfig.small, "baseline": GatoConfig.baseline, "large": GatoConfig.large,
}  # fmt: skip
FINE_TUNING = {"batch_size": 64, "steps": 10_000}  # appendix D
EXIT_FAILED, EXIT_REFUSED = 1, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--data", required=True, nargs="+", metavar="DIR[:WEIGHT]", help="converted datasets (NAME/VERSION) to mix")
    add("--out", required=True, type=Path, metavar="RUN", help="the run's folder; the same command goes on in it")
    add("--preset", choices=PRESETS, help="the model's sizes (default tiny)")
    add("--set", nargs="+", default=[], metavar="NAME=NUMBER", help="other sizes: any field of GatoConfig"
        " (vocabulary_size and local_positions follow the data)")  # fmt: skip
    add("--sequence-length", type=int, metavar="N", help="tokens of a training sequence (default 1024)")
    add("--steps", type=int, metavar="N", help="steps to train (fine-tuning: 10000)")
    add("--batch-size", type=int, metavar="N", help="sequences of a step, on all workers (default 512, fine-tuning 64)")
    add("--learning-rate", type=float, metavar="X", help="the highest (default 1e-4, fine-tuning: 1e-5, constant)")
    add("--warmup-steps", type=int, metavar="N", help="(default 15000, or a tenth of --steps if that is less)")
    add("--weight-decay", type=float, metavar="X", help="(default 0.1, fine-tuning 0)")
    add("--clip-norm", type=float, metavar="X", help="longest gradient (default: no clipping)")
    add("--seed", type=int, default=0, metavar="N", help="seed of weights, batches and dropout (default 0)")
    add(
        "--prompt-share",
        type=float,
        default=0.25,
        metavar="F",
        help="fraction of agent sequences that get a prompt (default 0.25)",
    )
    add(
        "--min-expert-share",
        type=float,
        metavar="F",
        help="leave out episodes below this fraction of the expert's return",
    )
    add(
        "--fine-tune",
        type=Path,
        metavar="RUN",
        help="start from a run's best weights, as the paper does",
    )
    add("--dtype", default="float32", choices=("float32", "mixed_bfloat16"), help="(default float32)")
    add("--accumulate", type=int, default=1, metavar="N", help="parts of a batch, one after the other (default 1)")
    add("--rematerialize", action="store_true", help="less memory for more time")
    add("--jit", action="store_true", help="compile with XLA")
    add("--log-every", type=int, default=10, metavar="N", help="steps (default 10)")
    add("--evaluate-every", type=int, default=500, metavar="N", help="steps, on the validation splits (default 500)")
    add("--evaluation-batches", type=int, default=8, metavar="N", help="(default 8)")
    add("--save-every", type=int, default=500, metavar="N", help="steps (default 500)")
    add("--keep", type=int, default=3, metavar="N", help="checkpoints beside the best (default 3)")


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code: 0, 1 if it failed while running, 2 if it was refused before."""
    strategy = (
        tf.distribute.MultiWorkerMirroredStrategy() if "TF_CONFIG" in os.environ else None
    )  # must come before any other use of TensorFlow
    try:
        options = run_options_of(arguments)
        settings = fitted(settings_of(arguments), arguments.set)
    except (ValueError, OSError, KeyError, CheckpointError) as error:
        print(f"gato-model train: {error}", file=sys.stderr)
        return EXIT_REFUSED
    try:
        train(settings, arguments.out, options, strategy)
    except (RefusedError, FileNotFoundError, KeyError, ValueError) as error:
        print(f"gato-model train: {error}", file=sys.stderr)
        return EXIT_FAILED if isinstance(error, CorruptRecordError) else EXIT_REFUSED
    except (TrainingError, CheckpointError, OSError) as error:
        print(f"gato-model train: {error}", file=sys.stderr)
        return EXIT_FAILED
    except tf.errors.OpError as error:  # another worker is gone, so the collective operations fail
        print(
            f"gato-model train: {error.message[:300]}\n{how_to_resume(arguments)}",
            file=sys.stderr,
        )
        return EXIT_FAILED
    return 0


def how_to_resume(arguments: argparse.Namespace) -> str:
    """Say how to go on after an interruption."""
    return f"the same command (on every worker) goes on from the last checkpoint in {arguments.out}"


def settings_of(arguments: argparse.Namespace) -> TrainSettings:
    """Make the run's settings from the command's options. Raises ValueError for a bad one."""
    fine = arguments.fine_tune is not None
    steps = FINE_TUNING["steps"] if fine and arguments.steps is None else arguments.steps
    if steps is None:
        raise ValueError("--steps is needed, unless with --fine-tune")
    shares = tuple(_share(text, arguments.min_expert_share) for text in arguments.data)
    usual = FINE_TUNING["batch_size"] if fine else 512
    batch = usual if arguments.batch_size is None else arguments.batch_size
    return TrainSettings(
        shares, _config(arguments), _optimizer(arguments, steps, fine), steps, batch, arguments.seed,
        arguments.prompt_share, arguments.dtype, str(arguments.fine_tune or ""),
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
    )  # fmt: skip


def _share(text: str, min_expert_share: float | None) -> Share:
    """Parse DIR or DIR:WEIGHT; an existing folder may have a colon in its name."""
    path, colon, weight = text.rpartition(":")
    if not colon or Path(text).exists():
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
        return PRESETS[arguments.preset or "tiny"](**changes)
    if arguments.preset:
        raise ValueError("--preset and --fine-tune: a fine-tuned model has the sizes of the run that it starts from")
    if not (arguments.fine_tune / CONFIG).is_file():
        raise ValueError(
            f"--fine-tune {arguments.fine_tune}: it is not the folder of a run, because it has no {CONFIG}"
        )
    before = GatoConfig.from_json((arguments.fine_tune / CONFIG).read_text())
    return dataclasses.replace(before, **{"dropout": 0.1, "stochastic_depth": 0.0, **changes})


def _optimizer(arguments: argparse.Namespace, steps: int, fine: bool) -> OptimizerSettings:
    given = {
        "learning_rate": arguments.learning_rate, "warmup_steps": arguments.warmup_steps,
        "weight_decay": arguments.weight_decay, "clip_norm": arguments.clip_norm,
    }  # fmt: skip
    changes = {name: value for name, value in given.items() if value is not None}
    if fine:
        return dataclasses.replace(OptimizerSettings.fine_tuning(), **changes)
    usual = OptimizerSettings(warmup_steps=min(15_000, steps // 10), decay_steps=steps)
    return dataclasses.replace(usual, **changes)
