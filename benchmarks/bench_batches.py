"""Reading batches against a plain tf.data pipeline that parses the same records and packs nothing.

    python -m benchmarks.bench_batches [--folder DIR]

needs tensorflow and apache-beam. Datasets made here, of 1,024-token rows, 32 a batch:

    short        2,000 episodes of 342 tokens: 6 timesteps of 55 discrete values, separator, action
    continuous   400 episodes of 200 timesteps of 39 real numbers, separator, 4 actions: 8,800 tokens
    pixels       24 episodes of 600 timesteps of 96x96 pixels (38 tokens): records of 16,384 tokens cut at 8 MiB
    documents    400 texts of 5 to 4,000 words
    mixture      these four, a quarter of the rows each

"cached" reads the same rounds again with everything in memory, "uncached" has no cache; tf.data is `.dataset()`, the
whole way through its iterator. "plain" is `parse_single_example`, inflating and decoding, one record after the other.
Speeds are tokens of records or batches, without padding, per second of CPU time of all threads: medians of turns. Peak
memory is what a separate process needs to read 100 batches, beyond what it had before.

The second table has tokens per second of the clock without a cache, for one thread, two threads, and two processes of
one thread each, in turns. What two processes gain is what the machine's cores and memory allow; what two threads lack
of that is Python's lock.
"""

import argparse
import contextlib
import itertools
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")

import numpy as np

from benchmarks.side_by_side import in_turns
from gato_model.data.batches import Batches, batches
from gato_model.data.share import Share
from gato_tokenize import ContinuousSpec, Dataset, DiscreteSpec, Episode, EpisodeMetadata, EpisodeSpec, ImageSpec
from pipelines.conversion.convert import convert
from pipelines.conversion.plan import make_plan
from pipelines.conversion.reject_budget import RejectBudget
from pipelines.conversion.write_partition import write_here
from pipelines.sources import SOURCES
from pipelines.sources.source import Candidate, Source

ROWS, LENGTH, STEPS = 32, 1024, 16
NAMES = ("short", "continuous", "pixels", "documents")
WORDS = "a model reads what the world writes and answers in tokens of one kind or another".split()


class MadeSource(Source):
    """`made:short` and the others: episodes made from their number."""

    COUNTS = {"short": 2000, "continuous": 400, "pixels": 24, "documents": 400}

    def __init__(self, argument: str, options: dict[str, str]) -> None:
        self.name = argument

    def inputs(self) -> list[dict[str, Any]]:
        return [{"uri": f"made:{self.name}", "versions": {}}]

    def specs(self) -> dict[str, EpisodeSpec]:
        if self.name == "documents":
            return {self.name: EpisodeSpec.document()}
        if self.name == "continuous":
            return {self.name: EpisodeSpec({"seen": ContinuousSpec(39)}, ContinuousSpec(4))}
        camera: Any = DiscreteSpec(16, (55,)) if self.name == "short" else ImageSpec((96, 96, 3))
        return {self.name: EpisodeSpec({"seen": camera}, DiscreteSpec(7))}

    def partitions(self) -> list[dict[str, Any]]:
        return [{"start": start} for start in range(0, self.COUNTS[self.name], 500)]

    def candidates(self, partition: dict[str, Any]) -> Iterator[Candidate]:
        start = partition["start"]
        for number in range(start, min(start + 500, self.COUNTS[self.name])):
            name = f"{self.name}/{number}"
            yield Candidate(name, f"made:{self.name}", number, lambda number=number: self.episode(number))  # type: ignore[misc]

    def episode(self, number: int) -> Episode:
        (spec,) = self.specs().values()
        metadata = EpisodeMetadata(f"{self.name}/{number}", "made", self.name, "nobody", source_index=number)
        generator = np.random.default_rng(number)
        if self.name == "documents":
            words = random.Random(number).choices(WORDS, k=int(generator.integers(5, 4000)))
            return Episode(spec, {"text": [" ".join(words)]}, metadata=metadata)
        if self.name == "continuous":
            seen, chosen = generator.normal(size=(200, 39)), generator.uniform(-1, 1, (200, 4))
            return Episode(spec, {"seen": seen}, chosen, metadata)
        steps = 6 if self.name == "short" else 600
        seen = generator.integers(0, 16, (steps, 55)) if self.name == "short" else moving_picture(generator, steps)
        return Episode(spec, {"seen": seen}, generator.integers(0, 7, steps), metadata)


def moving_picture(generator: np.random.Generator, steps: int) -> np.ndarray[Any, Any]:
    """uint8[steps, 96, 96, 3]: moving coloured squares with noise, which compress about as well as a game's frames."""
    frames = np.zeros((steps, 96, 96, 3), np.uint8)
    for _ in range(8):
        colour, start, speed = generator.integers(64, 255, 3), generator.integers(0, 80, 2), generator.integers(1, 4, 2)
        for step in range(steps):
            y, x = (start + speed * step) % 80
            frames[step, y : y + 16, x : x + 16] = colour
    frames[:, 40:44] += generator.integers(0, 64, (steps, 4, 96, 3), dtype=np.uint8)
    return frames


def write_datasets(folder: Path) -> None:
    SOURCES["made"] = "benchmarks.bench_batches:MadeSource"
    for name in NAMES:
        final = folder / name / "1.0.0"
        plan, tokenizer = make_plan([f"made:{name}"], final)
        convert(plan, tokenizer, final, RejectBudget("0"), write_here)


def opened(folder: Path, name: str, **options: Any) -> Batches:
    names = NAMES if name == "mixture" else (name,)
    return batches([Share(folder / one / "1.0.0") for one in names], ROWS, LENGTH, **options)


def read(source: Iterator[Any]) -> int:
    """Return the number of tokens in the next STEPS batches."""
    return sum(int(np.count_nonzero(batch["segments"])) for batch in itertools.islice(source, STEPS))


def reading_rate(folder: "str | os.PathLike[str]", turns: int = 3, **options: Any) -> float:
    """Measure tokens per CPU second, without padding, of a NAME/VERSION folder's batches; options as for `batches`."""
    reader = batches(folder, ROWS, LENGTH, **options)
    steps = itertools.count()
    batch = map(reader.batch, steps)
    tokens = read(batch)
    return tokens / in_turns({"read": lambda: read(batch)}, turns, 1, time.process_time)["read"]


def ways(folder: Path, name: str) -> dict[str, Callable[[], int]]:
    """Return {way: a function that reads STEPS batches, or about as many tokens, and returns the number of tokens}."""
    uncached = map(opened(folder, name, cache_bytes=0).batch, itertools.count())
    cached = map(opened(folder, name, cache_bytes=1 << 30).batch, itertools.cycle(range(STEPS)))
    wrapped = opened(folder, name, cache_bytes=1 << 30).dataset(prefetch=1)
    reads: dict[str, Callable[[], int]] = {
        "uncached": lambda: read(uncached),
        "cached": lambda: read(cached),
        "tf.data": lambda: read(wrapped.as_numpy_iterator()),  # a new reader each time, for which nothing is read ahead
    }
    if name != "mixture":
        plain = plain_records(folder / name / "1.0.0")
        reads["plain"] = lambda: read_plain(plain.as_numpy_iterator(), ROWS * LENGTH * STEPS)
    return reads


def plain_records(folder: Path) -> Any:
    """Yield the records of a dataset endlessly, parsed by tf.data alone."""
    import tensorflow as tf

    strings = {key: tf.io.FixedLenFeature([], tf.string, "") for key in ("token_kind", "loss_mask", "image_patches")}
    features = {key: tf.io.RaggedFeature(tf.int64) for key in ("tokens", "step_splits")} | strings

    def inflated(data: Any) -> Any:
        whole = lambda: tf.io.decode_raw(tf.io.decode_compressed(data, "ZLIB"), tf.uint8)  # noqa: E731
        return tf.cond(tf.strings.length(data) > 0, whole, lambda: tf.zeros([0], tf.uint8))

    def parse(data: Any) -> Any:
        record = tf.io.parse_single_example(data, features)
        return record | {key: inflated(record[key]) for key in strings}

    shards = [str(path) for path in Dataset.open(folder).shards()]
    return tf.data.TFRecordDataset(shards).map(parse, num_parallel_calls=tf.data.AUTOTUNE).repeat().prefetch(4)


def read_plain(records: Iterator[Any], tokens: int) -> int:
    read = 0
    while read < tokens:
        read += len(next(records)["tokens"])
    return read


def print_speeds(folder: Path, name: str) -> None:
    calls = ways(folder, name)
    tokens = {way: call() for way, call in calls.items()}
    seconds = in_turns(calls, 3, 1, time.process_time)
    rates = {way: tokens[way] / seconds[way] / 1e6 for way in calls}
    print(f"{name:<12}" + "".join(f"{rates.get(way, float('nan')):>10.2f}" for way in HEADINGS), end="")
    reader = opened(folder, name, cache_bytes=0)
    padding = np.mean([reader.batch(step)["segments"] == 0 for step in range(3 * STEPS)])
    print(f"{padding:>9.1%}{reader.bytes_read / reader.bytes_used:>11.2f}{peak(folder, name):>10.0f}", flush=True)


def read_when_asked(folder: Path, name: str, pipe: Any) -> None:
    """Answer each message with the number of tokens that were read for it."""
    stream = map(opened(folder, name, cache_bytes=0).batch, itertools.count())
    while pipe.recv():
        pipe.send(read(stream))


def print_threads(folder: Path, name: str) -> None:
    """Print how fast one thread, two threads and two processes read batches by the clock."""
    readers = {threads: opened(folder, name, cache_bytes=0, threads=threads) for threads in (1, 2)}
    streams = {threads: map(reader.batch, itertools.count()) for threads, reader in readers.items()}
    context, pipes = multiprocessing.get_context("spawn"), []
    for _ in range(2):
        mine, theirs = context.Pipe()
        context.Process(target=read_when_asked, args=(folder, name, theirs), daemon=True).start()
        pipes.append(mine)

    def processes() -> int:
        for pipe in pipes:
            pipe.send(True)
        return sum(pipe.recv() for pipe in pipes)

    calls: dict[str, Callable[[], int]] = {
        "one": lambda: read(streams[1]), "two": lambda: read(streams[2]), "processes": processes,
    }  # fmt: skip
    tokens = {way: call() for way, call in calls.items()}
    seconds = in_turns(calls, 5, 1, time.perf_counter)
    for pipe in pipes:
        pipe.send(False)
    one, two, both = (tokens[way] / seconds[way] / 1e6 for way in calls)
    print(f"{name:<12}{one:>10.2f}{two:>10.2f}{both:>13.2f}{two / one:>9.2f}x{both / one:>9.2f}x", flush=True)


HEADINGS = ("uncached", "cached", "tf.data", "plain")


def peak(folder: Path, name: str) -> float:
    """Measure the peak MB of a process that reads 100 batches without TensorFlow, beyond what it had before them."""
    words = [sys.executable, "-m", "benchmarks.bench_batches", "--folder", str(folder), "--peak", name]
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def print_peak(folder: Path, name: str) -> None:
    reader = opened(folder, name)
    before = peak_kilobytes()
    for step in range(100):
        reader.batch(step)
    print((peak_kilobytes() - before) / 1e3)


def peak_kilobytes() -> int:
    """Return this process's own peak; getrusage would report the peak of its parent if that was larger."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where the datasets are, or are made and kept")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if arguments.peak:
            return print_peak(folder, arguments.peak)
        if not (folder / NAMES[-1]).exists():
            write_datasets(folder)
        print(f"load average {os.getloadavg()[0]:.1f}, million tokens a CPU second, 32 x 1,024 a batch")
        print(
            f"{'':<12}" + "".join(f"{way:>10}" for way in HEADINGS) + f"{'padding':>9}{'read/used':>11}{'peak MB':>10}"
        )
        for name in (*NAMES, "mixture"):
            print_speeds(folder, name)
        print(f"\nmillion tokens a second\n{'':<12}{'1 thread':>10}{'2 threads':>10}{'2 processes':>13}{'ratios':>10}")
        for name in (*NAMES, "mixture"):
            print_threads(folder, name)


if __name__ == "__main__":
    main()
