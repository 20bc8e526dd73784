"""The paper's optimizers and learning rates (Reed et al. 2022, appendices C.1 and D)."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import keras

INITIAL_RATE = 1e-7  # where the warm-up begins


def usual_warmup(steps: int) -> int:
    """Return the paper's 15,000 steps of warm-up, or a tenth of a run that is shorter than ten times as long."""
    return min(15_000, steps // 10)


@dataclasses.dataclass(frozen=True)
class OptimizerSettings:
    """AdamW with linear warm-up and cosine decay; with `decay_steps=0`, Adam at a constant rate (fine-tuning).

    The defaults are the paper's: 1e-4 (for 364M: 2e-4), 15,000 steps of warm-up, decay to a tenth at 1M steps, weight
    decay 0.1, no clipping. Weight decay spares biases and the gains of norms. Raises ValueError for a number out of
    range.
    """

    learning_rate: float = 1e-4
    warmup_steps: int = 15_000
    decay_steps: int = 1_000_000  # counted from step 0
    weight_decay: float = 0.1
    beta_2: float = 0.95
    clip_norm: float | None = None  # of all gradients together
    final_fraction: float = 0.1  # of the highest rate, at the end of the decay

    def __post_init__(self) -> None:
        if not (0 < self.learning_rate < math.inf):
            raise ValueError(f"learning_rate must be above 0, not {self.learning_rate}")
        if self.decay_steps and not 0 <= self.warmup_steps < self.decay_steps:
            raise ValueError(f"warm-up ({self.warmup_steps} steps) must end before the decay does ({self.decay_steps})")
        if not 0 <= self.weight_decay < 1 or not 0 <= self.beta_2 < 1:
            raise ValueError(f"weight_decay {self.weight_decay} and beta_2 {self.beta_2} must be in [0, 1)")
        if not 0 <= self.final_fraction <= 1:
            raise ValueError(f"final_fraction must be in [0, 1], not {self.final_fraction}")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(f"clip_norm must be above 0, or None for no clipping, not {self.clip_norm}")

    @classmethod
    def fine_tuning(cls) -> "OptimizerSettings":
        """Return the settings of appendix D: Adam, constant 1e-5."""
        return cls(learning_rate=1e-5, warmup_steps=0, decay_steps=0, weight_decay=0.0)

    def schedule(self) -> Any:
        """Return the rate: linear from 1e-7 over the warm-up, then a half cosine down to `final_fraction` of it.

        >>> schedule = OptimizerSettings(1e-4, warmup_steps=10, decay_steps=110).schedule()
        >>> [f"{float(schedule(step)):.2e}" for step in (0, 5, 10, 60, 110, 500)]
        ['1.00e-07', '5.00e-05', '1.00e-04', '5.50e-05', '1.00e-05', '1.00e-05']
        """
        length = self.decay_steps - self.warmup_steps
        cosine = keras.optimizers.schedules.CosineDecay
        if not self.warmup_steps:
            return cosine(self.learning_rate, length, self.final_fraction)
        rates = INITIAL_RATE, length, self.final_fraction, "CosineDecay", self.learning_rate, self.warmup_steps
        return cosine(*rates)

    def rate(self, number: int) -> float:
        """Return the learning rate of step `number`, counted from 0."""
        return float(self.schedule()(number)) if self.decay_steps else self.learning_rate

    def make(self, model: Any) -> Any:
        """Make the Keras optimizer of a built model, built too, so that a checkpoint finds all of its variables."""
        with _float32_by_default():  # of a constant rate's variable
            rate = self.schedule() if self.decay_steps else self.learning_rate
            optimizer = keras.optimizers.AdamW(rate, self.weight_decay, 0.9, self.beta_2, 1e-8)
        spared = [variable for variable in model.trainable_variables if not _is_matrix(variable)]
        optimizer.exclude_from_weight_decay(var_list=spared)
        optimizer.build(model.trainable_variables)
        return optimizer


@contextlib.contextmanager
def _float32_by_default() -> Iterator[None]:
    """Overrule the float type that ~/.keras/keras.json may have chosen."""
    before = keras.config.floatx()
    keras.config.set_floatx("float32")
    try:
        yield
    finally:
        keras.config.set_floatx(before)


def _is_matrix(variable: Any) -> bool:
    """Whether weight decay applies: to tables, matrices, convolutions. Attention's two biases have three axes."""
    return len(variable.shape) > 1 and not variable.name.endswith("bias")
