"""The settings that a run's weights depend on, and the options that they do not."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import keras

from gato_model.config import GatoConfig
from gato_model.data.share import Share
from gato_model.training.optimizer import OptimizerSettings
from gato_tokenize.storage.dataset import MANIFEST
from gato_tokenize.storage.store_path import place


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """Everything that a run's weights depend on.

    `batch_size` counts the sequences of the global batch, on however many workers. Raises ValueError for no data, a
    number out of range, or a dtype that is not a Keras policy.
    """

    data: tuple[Share, ...]
    config: GatoConfig
    optimizer: OptimizerSettings
    steps: int
    batch_size: int = 512
    seed: int = 0
    prompt_share: float = 0.25
    history_dropout: float = 0.0  # the fraction of agents' sequences in which no timestep sees another: see `batches`
    dtype: str = "float32"  # or mixed_bfloat16: a Keras policy
    fine_tune: str = ""  # the run whose weights it starts from
    ordered_start: bool = False  # neighbouring bins of continuous values begin alike: see DiscreteEmbedding.order
    smoothing: float = 0.0  # the part of the target that the neighbours of a bin share: see Gato.losses

    def __post_init__(self) -> None:
        if not self.data:
            raise ValueError("a run needs data: at least one folder")
        if self.steps < 1 or self.batch_size < 1:
            raise ValueError(f"steps {self.steps} and batch_size {self.batch_size} must be at least 1")
        if not 0 <= self.smoothing < 1:
            raise ValueError(f"smoothing must be at least 0 and below 1, not {self.smoothing}")
        keras.dtype_policies.get(self.dtype)

    def to_json(self) -> dict[str, Any]:
        """Return JSON that names a dataset by the hash of its manifest, which covers all its files, not by its path."""
        content = json.loads(json.dumps(dataclasses.asdict(self), default=str))
        for share in content["data"]:
            share["manifest_sha256"] = hashlib.sha256((place(share.pop("path")) / MANIFEST).read_bytes()).hexdigest()
        return dict(content)


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Options of a run that do not affect its weights. Raises ValueError for a number that is too small."""

    log_every: int = 10
    save_every: int = 500  # steps that a crash costs at most
    keep: int = 3
    evaluate_every: int = 500  # 0: never
    evaluation_batches: int = 8
    accumulate: int = 1  # parts of a batch, one after the other, to save memory
    jit_compile: bool = False
    rematerialize: bool = False
    read_threads: int = 1
    shown: bool = True  # lines and a bar on standard error
    on_line: Callable[[Mapping[str, Any]], None] | None = None  # gets each line of metrics.jsonl

    def __post_init__(self) -> None:
        for name in ("log_every", "save_every", "keep", "evaluation_batches", "accumulate", "read_threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.evaluate_every < 0:
            raise ValueError(f"evaluate_every must be at least 0, not {self.evaluate_every}")
