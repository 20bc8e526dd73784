"""train: records to batches to steps to checkpoints, in one process or on many machines, from where a run stopped."""

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gato_model.data.batches import Batches, batches
from gato_model.data.share import Share
from gato_model.data.target_check import LostTargets
from gato_model.data.token_identity import TokenIdentity, token_identity
from gato_model.network.losses import Smoothing
from gato_model.network.model import Gato
from gato_model.training.checkpoint import Checkpoints, load_weights
from gato_model.training.header import header
from gato_model.training.loss_table import LossTable
from gato_model.training.run_card import write_run_card
from gato_model.training.run_folder import RefusedError, TrainingError, open_run
from gato_model.training.run_log import RunLog, best_loss, duration
from gato_model.training.settings import RunOptions, TrainSettings
from gato_model.training.training_step import TrainingStep
from gato_tokenize import Dataset, Kind
from gato_tokenize.output import counted
from gato_tokenize.storage.dataset import DatasetTokenizer

ROUNDING = ("TF_ENABLE_ONEDNN_OPTS", "TF_XLA_FLAGS", "XLA_FLAGS", "NVIDIA_TF32_OVERRIDE", "TF_DETERMINISTIC_OPS")
EVALUATION_SEED = 0  # held-out batches are the same in every run and at every step


def train(
    settings: TrainSettings, out: Path, options: RunOptions | None = None, strategy: Any = None
) -> LossTable | None:
    """Train to the last step, from the newest checkpoint in `out` if there is one.

    The loss curve is that of a run which was never stopped. Returns the last evaluation on held-out episodes, None if
    there was none.

    strategy: a tf.distribute one. Each process of a MultiWorkerMirroredStrategy calls this with the same settings and
        the same `out`, on a shared disk.

    Raises RefusedError if `out` holds another run, TrainingError for a loss that is not finite, CheckpointError, and
    the errors of reading the data and of writing the run.
    """
    options, strategy = options or RunOptions(), strategy or tf.distribute.get_strategy()
    chief = _task(strategy) == 0
    rows = rows_of_replicas(settings.batch_size, strategy, options.accumulate)
    readers = [
        [_reader(settings, settings.data, of_replica, threads=options.read_threads) for of_replica in part]
        for part in rows
    ]
    notes: list[object] = [*_lost_targets(readers[0][0]), *_obeyed_variables()]
    if chief:
        notes += open_run(settings, out)
    keras.utils.set_random_seed(settings.seed)  # of the initial weights
    with strategy.scope():
        model = Gato(settings.config, rematerialize=options.rematerialize, seed=settings.seed, dtype=settings.dtype)
        optimizer = settings.optimizer.make(model)
    bins = readers[0][0].identity.vocabulary.continuous
    smoothing = Smoothing(bins, settings.smoothing)
    if settings.ordered_start:
        model.token_embedding.order(bins, settings.seed)
    step = TrainingStep(strategy, model, optimizer, len(settings.data), settings.batch_size, settings.seed,
                        settings.optimizer.clip_norm, options.jit_compile, smoothing)  # fmt: skip
    with contextlib.closing(Checkpoints(out, model, optimizer, options.keep, chief)) as checkpoints:
        start = checkpoints.restore()
        if start is None and settings.fine_tune:
            load_weights(model, Path(settings.fine_tune))
        if start is not None:
            notes.append(_where_it_is(out, start, settings.steps))
        if (start or 0) < settings.steps:
            notes += header(settings, model, strategy)
        run = _Run(settings, options, out, step, checkpoints, rows, readers, _held_out(settings, rows[0]))
        return run.go(start or 0, notes, quiet=not chief)


class _Run:
    """A run in this process, ready to go on from a step.

    rows, readers: for each part of a batch and each replica of this process, its (start, stop) and its reader
    held_out: the indices of the shares with held-out episodes, and a reader for each replica's rows of the first part
    """

    def __init__(self, settings: TrainSettings, options: RunOptions, out: Path, step: TrainingStep,
                 checkpoints: Checkpoints, rows: list[list[tuple[int, int]]], readers: list[list[Batches]],
                 held_out: "tuple[list[int], list[Batches]] | None") -> None:  # fmt: skip
        self.settings, self.options, self.out, self.step, self.checkpoints = settings, options, out, step, checkpoints
        self.rows, self.readers, self.held_out = rows, readers, held_out
        self.groups, self.names = tuple(readers[0][0].domains), tuple(readers[0][0].names)
        self.best = float("inf")
        self.table: LossTable | None = None

    def go(self, start: int, notes: Sequence[object], quiet: bool) -> LossTable | None:
        """Take the steps from `start` on, after printing the notes."""
        settings, options = self.settings, self.options
        tokens = settings.batch_size * settings.config.sequence_length
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(
                RunLog(self.out, start, settings.steps, tokens, quiet, options.shown, options.on_line)
            )
            for note in notes:
                log.note(str(note))
            self.best = best_loss(self.out)
            self._write_card(start, quiet)
            streams = [[stack.enter_context(reader.iterate(start)) for reader in part] for part in self.readers]
            for number in range(start, settings.steps):
                self._learn(number, [self._on_replicas(map(next, part), i) for i, part in enumerate(streams)], log)
                done = number + 1
                if self.held_out and options.evaluate_every and self._due(done, options.evaluate_every):
                    self._evaluate(done, log)
                if self._due(done, options.save_every):
                    self.checkpoints.save(done)
                    self._write_card(done, quiet)
            if start < settings.steps:
                log.note(f"trained {counted(settings.steps - start, 'step')} in {duration(time.monotonic() - began)};"
                         f" {self.out} holds the run and its checkpoints")  # fmt: skip
        return self.table

    def _write_card(self, done: int, quiet: bool) -> None:
        if not quiet:
            write_run_card(self.out, done, self.step.model.count_params())

    def _due(self, done: int, every: int) -> bool:
        return done % every == 0 or done == self.settings.steps

    def _on_replicas(self, arrays: Any, part: int) -> Any:
        return self.step.replicated(list(arrays), [first for first, _ in self.rows[part]])

    def _learn(self, number: int, parts: list[Any], log: RunLog) -> None:
        sums, norm = self.step(parts, number)
        table = LossTable(sums, self.names)
        if wrong := table.not_finite() or ([] if np.isfinite(norm) else ["the gradient"]):
            raise TrainingError(
                f"the loss is not a finite number at step {number + 1}: {', '.join(wrong)}. Look at that data, lower"
                " --learning-rate or set --clip-norm; the last checkpoint is from before this step"
            )
        log.advance(number + 1)
        if self._due(number + 1, self.options.log_every) or number == 0:
            measured = {"loss": table.loss, "accuracy": table.accuracy} if table.tokens else {}
            state = {"learning_rate": self.settings.optimizer.rate(number), "gradient_norm": norm}
            log.learned(number + 1, {**measured, **state, **self._shares(number, table)}, _shown(table))

    def _shares(self, number: int, table: LossTable) -> dict[str, float]:
        """Return each dataset's fraction of the step's rows and of its predicted tokens, to be logged."""
        rows = self.readers[0][0].rows_of_shares(number) / self.settings.batch_size
        shares = dict.fromkeys((f"share/{name}/rows" for name in self.names), 0.0)
        for name, fraction in zip(self.names, rows.tolist(), strict=True):
            shares[f"share/{name}/rows"] += fraction
        return shares | {f"share/{name}/targets": part for name, part in table.shares_of_tokens().items()}

    def _evaluate(self, done: int, log: RunLog) -> None:
        """Log loss and accuracy on held-out episodes by domain and modality; save the weights if they are the best."""
        assert self.held_out is not None
        shares, readers = self.held_out
        sums = np.zeros((len(self.names), len(Kind), 3))
        for number in range(self.options.evaluation_batches):
            arrays = [reader.batch(number) for reader in readers]
            sums += self.step.evaluate(self._on_replicas(arrays, 0))
        mine = np.zeros_like(sums)
        mine[shares] = sums[: len(shares)]
        self.table = table = LossTable(mine, self.groups)
        if not table.tokens:
            log.evaluated(done, "held out: no token to predict in these batches")
            return
        rows = table.rows()
        log.write(done, {"held_out/loss": table.loss, "held_out/accuracy": table.accuracy})
        log.write(done, {f"held_out/{row}/{name}": v for row, of in rows.items() for name, v in of.items()})
        shown = "  ".join(f"{name} {row['loss']:.3f} ({row['accuracy']:.1%})" for name, row in rows.items())
        log.evaluated(done, f"held out: loss {table.loss:.4f}  {shown}")
        if table.loss < self.best:
            self.best = table.loss
            self.checkpoints.save(done, best=True)


def _obeyed_variables() -> list[str]:
    """Name the environment variables that change TensorFlow's rounding and that no setting of a run overrules."""
    found = [f"{name}={os.environ[name]}" for name in ROUNDING if name in os.environ]
    if not found:
        return []
    return [f"TensorFlow obeys {', '.join(found)}: results may differ in rounding from those of a run without"]


def _where_it_is(out: Path, start: int, steps: int) -> str:
    if start >= steps:
        return f"{out} has all its {steps} steps: a larger --steps trains it for longer"
    return f"{out} goes on after step {start} of {steps}"


def _shown(table: LossTable) -> str:
    if not table.tokens:
        return "no token to predict in this batch"
    return f"loss {table.loss:.4f}  accuracy {table.accuracy:.3f}"


def _lost_targets(reader: Batches) -> list[LostTargets]:
    """Find the tasks whose records may keep no target. Raises RefusedError for a task none of whose records does."""
    found = reader.lost_targets()
    if hopeless := [str(lost) for lost in found if lost.all_lost]:
        raise RefusedError("\n".join(hopeless))
    return found


def _task(strategy: Any) -> int:
    resolver = strategy.cluster_resolver
    return resolver.task_id or 0 if resolver else 0


def rows_of_replicas(batch_size: int, strategy: Any, accumulate: int) -> list[list[tuple[int, int]]]:
    """Return, for each of `accumulate` parts of a batch, the (start, stop) rows of each replica of this process.

    Raises ValueError if the batch does not divide evenly.
    """
    replicas = strategy.num_replicas_in_sync
    resolver = strategy.cluster_resolver
    workers = max(len(resolver.cluster_spec().as_dict().get("worker", [0])), 1) if resolver else 1
    local = replicas // workers
    count = replicas * accumulate
    if batch_size % count:
        raise ValueError(
            f"batch_size {batch_size} does not divide by {replicas} replicas x {accumulate} parts:"
            " change --batch-size or --accumulate"
        )
    size, first = batch_size // count, _task(strategy) * local
    return [
        [(size * (r * accumulate + a), size * (r * accumulate + a + 1)) for r in range(first, first + local)]
        for a in range(accumulate)
    ]


def _reader(
    settings: TrainSettings, shares: Sequence[Share], rows: tuple[int, int], split: str = "train", threads: int = 1
) -> Batches:
    config = settings.config
    reader = batches(
        shares, settings.batch_size, config.sequence_length, split=split, rows=rows, quantization=config.quantization,
        seed=settings.seed if split == "train" else EVALUATION_SEED, prompt_share=settings.prompt_share,
        history_dropout=settings.history_dropout, identity=_identity(settings), threads=threads,
    )  # fmt: skip
    _check_rows(settings, reader.identity.vocabulary.size, reader.local_positions)
    return reader


def _check_rows(settings: TrainSettings, ids: int, positions: int) -> None:
    """Raise ValueError if the model's tables have not the rows that the data needs."""
    config = settings.config
    if ids != config.vocabulary_size:
        raise ValueError(
            f"the data's vocabulary has {ids} ids, the model's {config.vocabulary_size}: set vocabulary_size={ids}, or"
            " leave it to `gato-model train`"
        )
    if positions > config.local_positions:
        again = f"convert the data with --local-positions {config.local_positions}"
        cure = again if settings.fine_tune else f"set local_positions={positions}, or {again}"
        raise ValueError(f"the data has up to {positions} local positions, the model {config.local_positions}: {cure}")


def _identity(settings: TrainSettings) -> TokenIdentity | None:
    """Return the identity of the run that is fine-tuned; data in which an id means something else is refused."""
    return token_identity(DatasetTokenizer.load(Path(settings.fine_tune))) if settings.fine_tune else None


def _held_out(settings: TrainSettings, rows: list[tuple[int, int]]) -> "tuple[list[int], list[Batches]] | None":
    """Open the validation splits: the indices of the shares that have one, and a reader for each replica's rows."""
    numbers = [i for i, share in enumerate(settings.data) if "validation" in Dataset.open(share.path).splits]
    if not numbers:
        return None
    shares = [settings.data[i] for i in numbers]
    return numbers, [_reader(settings, shares, of_replica, "validation") for of_replica in rows]
