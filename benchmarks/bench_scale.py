"""Planning, publishing, verifying and reading many tiny episodes: time and memory must grow with their number, no more.

    python -m benchmarks.bench_scale [--sizes 10000 100000 1000000] [--each 100] [--folder DIR]

A simulated source has so many episodes of two timesteps, `--each` of them in a partition: a shard, a done-file. The
partitions are written by the plain loop of one process, all else as the commands do it, every stage in a process of its
own. Prints wall and CPU seconds and the peak of the resident memory of each stage, the bytes of what is published, and
the ratios between the sizes: a tenth of a size has about a tenth of the seconds, and the bytes, of the next.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gato_tokenize import ContinuousSpec, DiscreteSpec, Episode, EpisodeMetadata, EpisodeSpec
from pipelines.sources.pieces import ranges
from pipelines.sources.source import Candidate, Source

REPOSITORY = Path(__file__).parents[1]
SPEC = EpisodeSpec({"arm": ContinuousSpec(2)}, DiscreteSpec(4))
FILES = ("_run/plan.json", "manifest.json", "episodes.jsonl.gz")


class Simulated(Source):
    """`benchmarks.bench_scale:Simulated:COUNT,EACH`: episodes of two timesteps that take no time to make."""

    reads_files = False

    def __init__(self, argument: str, options: dict[str, str]) -> None:
        self._count, self._each = map(int, argument.split(","))

    def specs(self) -> dict[str, EpisodeSpec]:
        return {"simulated": SPEC}

    def inputs(self) -> list[dict[str, Any]]:
        return [{"uri": "simulated", "versions": {}}]

    def partitions(self) -> list[dict[str, Any]]:
        return [{"first": first, "count": stop - first} for first, stop in ranges(self._count, self._each)]

    def candidates(self, partition: dict[str, Any]) -> Iterator[Candidate]:
        for number in range(partition["first"], partition["first"] + partition["count"]):
            yield Candidate(f"simulated/{number}", "simulated", number, lambda number=number: self._load(number))

    def _load(self, number: int) -> Episode:
        arm = np.random.default_rng(number).uniform(-1, 1, (2, 2)).astype(np.float32)
        metadata = EpisodeMetadata(f"simulated/{number}", "simulated", "simulated", source_uri="simulated",
                                   source_index=number, return_=float(number % 7))  # fmt: skip
        return Episode(SPEC, {"arm": arm}, np.array([number % 4, 0]), metadata=metadata)


def planned(count: int, each: int, out: Path) -> tuple[Any, Any]:
    from pipelines.conversion.plan import make_plan

    return make_plan([f"benchmarks.bench_scale:Simulated:{count},{each}"], out)


def plan(count: int, each: int, out: Path) -> None:
    planned(count, each, out)[0].sha256  # noqa: B018 - it is what a conversion asks for first


def write(count: int, each: int, out: Path) -> None:
    from pipelines.conversion.work_folder import WorkFolder
    from pipelines.conversion.write_partition import write_here

    made, tokenizer = planned(count, each, out)
    folder = WorkFolder.of(made, out)
    with folder.locked():
        folder.save(tokenizer)
        write_here(folder)


def publish(count: int, each: int, out: Path) -> None:
    from pipelines.conversion.publish import publish as publish_folder
    from pipelines.conversion.reject_budget import RejectBudget
    from pipelines.conversion.work_folder import WorkFolder, find

    folder: WorkFolder = find(out)
    publish_folder(folder, out, RejectBudget())


def verify(count: int, each: int, out: Path) -> None:
    from pipelines.inspection.verify import verify as faults_of

    faults = list(faults_of(out))
    if faults:
        sys.exit(str(faults[0]))


def inspect(count: int, each: int, out: Path) -> None:
    from rich.console import Console

    from gato_tokenize import Dataset
    from pipelines.inspection.overview import overview

    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        overview(Dataset.open(out), Console(file=nowhere))


def episode(count: int, each: int, out: Path) -> None:
    from gato_tokenize import Dataset

    found = Dataset.open(out)[f"simulated/{count - 1}"]
    if found.metadata.source_index != count - 1:
        sys.exit("another episode was read")


def batch(count: int, each: int, out: Path) -> None:
    from gato_model import Share, batches

    batches([Share(out)], batch_size=2, sequence_length=256).batch(0)


STAGES = {
    "plan": plan, "write": write, "publish": publish, "verify": verify, "inspect": inspect,
    "read an episode by its id": episode, "first batch": batch,
}  # fmt: skip
Row = tuple[float, float, float]  # wall seconds, CPU seconds, MiB at the peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="in episodes")
    parser.add_argument("--each", type=int, default=100, help="episodes in a partition")
    parser.add_argument("--folder", help="where the datasets go (default: the system's temporary folder)")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        return run(arguments.stage, arguments.sizes[0], arguments.each, arguments.out)
    print(f"load average {os.getloadavg()[0]:.1f} at the start, {os.cpu_count()} cores")
    results = []
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            results.append(measured(size, arguments.each, Path(folder, "simulated/1.0.0")))
    for (size, rows, sizes), (larger, more, larger_sizes) in zip(results, results[1:], strict=False):
        print(f"\n{larger:,} against {size:,} episodes: {larger / size:g}x as many")
        for name, row in rows.items():
            print(f"  {name:<28}" + "  ".join(f"{more[name][i] / row[i]:.1f}x {what}" for i, what in
                                              enumerate(("wall", "CPU", "memory"))))  # fmt: skip
        print("  " + ", ".join(f"{name} {larger_sizes[name] / sizes[name]:.1f}x" for name in sizes))


def measured(size: int, each: int, out: Path) -> tuple[int, dict[str, Row], dict[str, int]]:
    """Run every stage in a process of its own, and print what it took."""
    what = f"{size:,} episodes in {-(-size // each):,} partitions"
    print(f"\n{what:<42}{'wall s':>9}{'CPU s':>8}{'MiB':>8} at the peak (above imports)")
    rows = {}
    for name in STAGES:
        words = ["--stage", name, "--sizes", str(size), "--each", str(each), "--out", str(out)]
        command = [sys.executable, "-m", "benchmarks.bench_scale", *words]
        done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
        *row, imports = json.loads(done.stdout.splitlines()[-1])
        rows[name] = tuple(row)
        print(f"  {name:<40}{row[0]:>9.2f}{row[1]:>8.2f}{row[2]:>8.0f} ({row[2] - imports:.0f})", flush=True)
    sizes = {name: (out / name).stat().st_size for name in FILES}
    shards = sum(path.stat().st_size for path in out.glob("*.tfrecord-*"))
    tokens = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["splits"]["train"]["tokens"]
    sizes |= {"shards": shards, "everything": sum(path.stat().st_size for path in out.rglob("*") if path.is_file())}
    print("  bytes: " + ", ".join(f"{name} {count:,}" for name, count in sizes.items()))
    plan, manifest, lines = (sizes[name] for name in FILES)
    print(f"  {tokens:,} tokens; bytes a partition: plan {plan * each / size:.0f}, manifest"
          f" {manifest * each / size:.0f}; episode list {lines / size:.1f} an episode")  # fmt: skip
    return size, rows, sizes


def run(stage: str, size: int, each: int, out: Path) -> None:
    """Run one stage here, and print (wall s, CPU s, MiB at the peak, MiB before)."""
    import gato_model  # noqa: F401 - what all stages import is not what a stage takes
    import pipelines.inspection.overview
    import pipelines.inspection.verify  # noqa: F401

    before, start, used = peak(), time.perf_counter(), time.process_time()
    STAGES[stage](size, each, out)
    print(json.dumps([time.perf_counter() - start, time.process_time() - used, peak(), before]))


def peak() -> float:
    """Return the most resident memory that this process has had, in MiB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024


if __name__ == "__main__":
    main()
