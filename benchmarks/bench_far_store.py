"""How long a training step waits for its batch when the dataset lies in a store that answers slowly.

    python -m benchmarks.bench_far_store [DATASET] [--delay 0.05] [--steps 40] [--rows 8]

It needs tensorflow, fsspec and, without DATASET, apache-beam. The store is a file system on this disk that waits
`--delay` seconds before each answer, as a store in another building does; `--delay 0` shows what is not its doing. The
model is `tiny`, on rows of 1,024 tokens. Without DATASET, the data are the pixel episodes of `bench_batches`.

Each line is one process that reads the dataset from the disk, from the store with an empty cache of blocks, or with the
cache that the line before left: seconds to open the data, seconds for the first batch, which nothing can hide, seconds
a step, the fraction of them in which the step waited for its batch, and the requests. The seconds are of the clock, so
other work on the machine counts.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")

REPOSITORY = Path(__file__).parents[1]
LENGTH = 1024


def register(delay: float) -> list[str]:
    """Make far://PATH the address of the local path /PATH. Returns the list of requests, which grows."""
    import fsspec
    from fsspec.implementations.local import LocalFileSystem

    requests: list[str] = []
    lock = threading.Lock()

    def slow(name: str) -> Any:
        def request(self: Any, *arguments: Any, **options: Any) -> Any:
            with lock:
                requests.append(name)
            time.sleep(delay)
            return getattr(LocalFileSystem, name)(self, *arguments, **options)

        return request

    kinds = ("info", "ls", "cat_file", "_open")
    strip = classmethod(lambda _, path: "/" + str(path).removeprefix("far://").strip("/"))
    members = {"protocol": "far", "_strip_protocol": strip, **{name: slow(name) for name in kinds}}
    far = type("Far", (LocalFileSystem,), members)
    fsspec.register_implementation("far", far)
    return requests


def measure(address: str, delay: float, steps: int, rows: int) -> dict[str, Any]:
    """Take `steps` steps; return their seconds, those waited in each, and the requests."""
    import tensorflow as tf

    from gato_model.config import GatoConfig
    from gato_model.data.batches import batches
    from gato_model.network.model import Gato
    from gato_model.training.optimizer import OptimizerSettings
    from gato_model.training.training_step import TrainingStep

    requests = register(delay)
    config = GatoConfig.tiny()
    model = Gato(config)
    optimizer = OptimizerSettings(1e-3, 10, 100).make(model)
    step = TrainingStep(tf.distribute.get_strategy(), model, optimizer, 1, rows)
    began = time.monotonic()
    reader = batches(address, rows, LENGTH)
    opening = time.monotonic() - began
    waited, took = [], []
    with contextlib.closing(reader.iterate(0)) as stream:
        for number in range(steps):
            began = time.monotonic()
            batch = next(stream)
            waited.append(time.monotonic() - began)
            step([step.replicated([batch], [0])], number)
            took.append(time.monotonic() - began)
    return {"opening": opening, "waited": waited, "took": took, "requests": len(requests)}


def shown(name: str, found: dict[str, Any]) -> str:
    first, rest = found["waited"][0], found["waited"][2:]
    took = sum(found["took"][2:])  # the first two steps are traced
    return (f"{name:<28} {found['opening']:6.2f} s to open, {first:6.2f} s for the first batch, then"
            f" {took / len(rest):5.2f} s a step, {sum(rest) / took:6.2%} of it waiting;"
            f" {found['requests']} requests")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", nargs="?", type=Path, help="a NAME/VERSION folder on this disk")
    parser.add_argument("--delay", type=float, default=0.05, help="seconds before each answer")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rows", type=int, default=8, help="of a batch")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.measure, given.delay, given.steps, given.rows)))
        return
    with tempfile.TemporaryDirectory() as folder:
        if given.dataset is None:
            from benchmarks.bench_batches import write_datasets

            write_datasets(Path(folder, "data"))
            given.dataset = Path(folder, "data/pixels/1.0.0")
        path = given.dataset.resolve()
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        print(f"{path.parent.name}: {size / 2**20:.1f} MiB; {given.rows} rows of {LENGTH} tokens,"
              f" {given.delay:g} s a request; load average {os.getloadavg()[0]:.1f}")  # fmt: skip
        for name, address in (
            ("the disk", str(path)),
            ("the store, empty cache", f"far:/{path}"),
            ("the store, its cache", f"far:/{path}"),
        ):
            command = [sys.executable, "-m", "benchmarks.bench_far_store", "--measure", address]
            command += ["--delay", str(given.delay), "--steps", str(given.steps), "--rows", str(given.rows)]
            cache = {"GATO_CACHE": str(Path(folder, "cache"))}
            done = subprocess.run(
                command, cwd=REPOSITORY, env={**os.environ, **cache}, check=True, capture_output=True, text=True
            )
            print(shown(name, json.loads(done.stdout.splitlines()[-1])), flush=True)


if __name__ == "__main__":
    main()
