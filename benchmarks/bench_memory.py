"""Peak memory of a training step of the 79M model, with and without rematerialisation, each in its own process.

    python -m benchmarks.bench_memory [--rows 4]

Resident memory of the process, minus what it had before the model was made, against what every step needs: parameters,
gradients and the two moments of AdamW. Control data: one place in 24 predicts.
"""

import argparse
import os
import resource
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from gato_model.config import GatoConfig

MIB = 2**20


def measured(rows: int, rematerialize: bool) -> tuple[float, float]:
    """Measure in a child process: MiB above an empty process at the peak, and seconds of the second of two steps."""
    command = [sys.executable, "-m", "benchmarks.bench_memory", "--rows", str(rows), "--child", str(int(rematerialize))]
    last = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    peak, seconds = map(float, last.split())
    return peak, seconds


def run(rows: int, rematerialize: bool) -> None:
    import keras

    from benchmarks.token_batches import CONTROL, batch
    from gato_model.network.model import Gato

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    config = GatoConfig.small(stochastic_depth=0.0)
    model = Gato(config, rematerialize=rematerialize)
    model.compile(keras.optimizers.AdamW(1e-4), jit_compile=False)
    data = batch(config, rows, CONTROL)
    for _ in range(2):
        start = time.perf_counter()
        model.train_on_batch(data)
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print((peak - before) * 1024 / MIB, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        return run(arguments.rows, bool(arguments.child))
    needed = 4 * 4 * GatoConfig.small().parameter_count() / MIB
    print(f"parameters, gradients, two moments: {needed:.0f} MiB; {arguments.rows} rows of 1,024 tokens")
    for name, rematerialize in (("all kept", False), ("rematerialised", True)):
        peak, seconds = measured(arguments.rows, rematerialize)
        print(f"{name:<16} peak {peak:>6.0f} MiB, {peak / needed:.2f}x of that; step {seconds:.1f} s")


if __name__ == "__main__":
    main()
