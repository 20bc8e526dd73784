"""Batches of random tokens, for timing training steps."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_model.config import GatoConfig

LENGTH = 1024
CONTROL = 24  # tokens a timestep, one of them predicted


def batch(config: GatoConfig, rows: int, every: int, length: int = LENGTH) -> dict[str, NDArray[Any]]:
    """Make a batch as `gato_model.batches` would: random tokens without patches, one place in `every` predicting."""
    generator = np.random.default_rng(0)
    tokens = generator.integers(0, config.vocabulary_size, (rows, length), np.int32)
    return {
        "tokens": tokens,
        "local_positions": np.broadcast_to(np.arange(length, dtype=np.int32) % CONTROL, tokens.shape),
        "segments": np.ones_like(tokens),
        "targets": np.roll(tokens, -1, 1),
        "target_index": np.arange(every - 1, rows * length, every, dtype=np.int32),
        "patches": np.zeros((16, 16, 16, 3), np.uint8),
        "patch_index": np.full(16, rows * length, np.int32),
        "patch_intervals": np.tile(np.int32([0, 1, 0, 1]), (16, 1)),
    }
