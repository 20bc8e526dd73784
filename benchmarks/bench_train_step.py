"""One training step of the 79M model against the same sizes in plain PyTorch, in turns, medians of tokens a second.

    python -m benchmarks.bench_train_step [--blocks 8] [--rows 2] [--repeats 5] [--cpu]

Two kinds of data: text, where every place predicts the next, and control data, where one place in 24 does (an action
of one token after 23 of observation). AdamW is included; dropout and stochastic depth are left out on all sides.
On a busy machine `--cpu` is fairer: one thread each, and the CPU's time instead of the clock's.
"""

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
import torch
from numpy.typing import NDArray

from benchmarks.plain_torch import TorchStep
from benchmarks.side_by_side import in_turns
from benchmarks.token_batches import CONTROL, LENGTH, batch
from gato_model.config import GatoConfig
from gato_model.network.model import Gato


def our_step(
    config: GatoConfig, jit: bool, data: dict[str, NDArray[Any]], make: type[Gato] = Gato
) -> Callable[[], Any]:
    model = make(config)
    model.compile(keras.optimizers.AdamW(1e-4, 0.1, 0.9, 0.95, 1e-8), jit_compile=jit)
    return lambda: model.train_on_batch(data, return_dict=True)["loss"]


def torch_step(config: GatoConfig, data: dict[str, NDArray[Any]], **options: bool) -> Callable[[], Any]:
    step = TorchStep(config, **options)
    tensors = [torch.from_numpy(data[name].astype(np.int64)) for name in ("tokens", "target_index", "targets")]
    return lambda: step(*tensors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cpu", action="store_true")
    arguments = parser.parse_args()
    threads, clock = (1, time.process_time) if arguments.cpu else (len(os.sched_getaffinity(0)), time.perf_counter)
    torch.set_num_threads(threads)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    config = GatoConfig.small(num_layers=arguments.blocks, stochastic_depth=0.0)
    for name, every in (("control data, 1 place in 24 predicted", CONTROL), ("text, every place predicted", 1)):
        data = batch(config, arguments.rows, every)
        calls = {
            "ours": our_step(config, False, data),
            "ours, XLA": our_step(config, True, data),
            "PyTorch, logits everywhere": torch_step(config, data, gather=False),
            "PyTorch, logits gathered": torch_step(config, data, gather=True),
            "the same, relative attention": torch_step(config, data, gather=True, relative=True),
        }
        print_medians(name, in_turns(calls, arguments.repeats, 1, clock), arguments.rows * LENGTH)


def print_medians(name: str, medians: dict[str, float], tokens: int) -> None:
    print(f"{name:<40} {'s a step':>9} {'tokens/s':>9} {'XLA is':>7} {'plain is':>9}")
    for way, seconds in medians.items():
        ratios = seconds / medians["ours, XLA"], seconds / medians["ours"]
        print(f"  {way:<38} {seconds:>9.2f} {tokens / seconds:>9.0f} {ratios[0]:>6.2f}x {ratios[1]:>8.2f}x")


if __name__ == "__main__":
    main()
