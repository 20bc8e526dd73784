"""Reading batches against the training step of `tiny` that consumes them, in tokens per second of CPU time.

    python -m benchmarks.bench_reading_share [--folder DIR]

It needs tensorflow and apache-beam. The data are those of `bench_batches`, read without a cache; the step is a whole
one, AdamW included, on 8 rows of 1,024 tokens of the short episodes.
"""

import argparse
import contextlib
import tempfile
import time
from pathlib import Path

import tensorflow as tf

from benchmarks.bench_batches import LENGTH, NAMES, opened, write_datasets
from benchmarks.side_by_side import in_turns
from gato_model.config import GatoConfig
from gato_model.data.batches import batches
from gato_model.network.model import Gato
from gato_model.training.optimizer import OptimizerSettings
from gato_model.training.training_step import TrainingStep

ROWS = 8


def training_rate(folder: Path) -> float:
    """Measure tokens per CPU second, without padding."""
    batch = batches(str(folder), ROWS, LENGTH).batch(0)
    model = Gato(GatoConfig.tiny())
    optimizer = OptimizerSettings(1e-3, 10, 100).make(model)
    step = TrainingStep(tf.distribute.get_strategy(), model, optimizer, 1, ROWS)
    part = step.replicated([batch], [0])
    seconds = in_turns({"step": lambda: step([part], 0)}, repeats=3, inner=1, clock=time.process_time)["step"]
    return float((batch["segments"] > 0).sum() / seconds)


def main(folder: Path) -> None:
    if not any(folder.iterdir()):
        write_datasets(folder)
    step = training_rate(next(folder.glob("short/*")))
    print(f"training step of tiny   {step:12,.0f} tokens per CPU second")
    for name in (*NAMES, "mixture"):
        source = opened(folder, name, cache_bytes=0)
        began = time.process_time()
        tokens = sum(int((source.batch(number)["segments"] > 0).sum()) for number in range(16))
        rate = tokens / (time.process_time() - began)
        print(f"reading {name:15s} {rate:12,.0f} tokens per CPU second, {rate / step:7.1f}x the step")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, help="keep the datasets here")
    given = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as made, contextlib.suppress(KeyboardInterrupt):
        chosen = given or Path(made)
        chosen.mkdir(parents=True, exist_ok=True)
        main(chosen)
