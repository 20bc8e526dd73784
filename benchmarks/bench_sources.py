"""Each source against bare reading of the same files with the format's own library, each in a process of its own.

    python -m benchmarks.bench_sources [--only NAME ...] [--episodes N] [--repeats N] [--folder DIR]

A case makes its files, reads them with the library that the field uses (the oracle), and names the source that converts
them: a new source is one `Case` in CASES. All processes run on one core, in turns, and are measured in seconds of CPU
time, which other work on the machine changes least. The seconds leave out starting Python and importing; peak memory is
that of the process as a whole. "read" makes episodes of the files. "converted" is a conversion to verified episodes:
planning, reading, tokenizing, writing, publishing, verifying.
"""

import argparse
import dataclasses
import functools
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.hdf5_cases import HDF5_CASES
from benchmarks.lerobot_cases import LEROBOT_CASES
from benchmarks.picture_cases import PICTURE_CASES
from benchmarks.recording_cases import RECORDING_CASES
from benchmarks.replay_cases import REPLAY_CASES
from benchmarks.table_cases import TABLE_CASES

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
STEPS = 40  # of each recorded episode


@dataclasses.dataclass(frozen=True)
class Case:
    """make: writes files of so many episodes below a folder. source: the string that converts them, with `{folder}`.
    bare: {way: a function that reads every episode below the folder and returns their number}, the library's own way
    first. enlarge: makes of these files, in the same folder, those of a dataset of so many episodes, to be planned.
    imports: the library of bare reading. steps: of an episode. few: compare the peak memory with that of so many
    episodes."""

    make: Callable[[Path, int], None]
    source: str
    bare: dict[str, Callable[[Path], int]]
    enlarge: Callable[[Path, int], None] | None = None
    imports: str = "tensorflow_datasets"
    steps: int = STEPS
    few: int = 0


def pictures(generator: Any, count: int, side: int) -> Any:
    """uint8[count, side, side, 3]: smooth pictures with some noise, which JPEG makes as small as a camera's."""
    import numpy as np

    ramp = np.linspace(0, 200, side)
    base = ramp[None, :, None, None] * 0.5 + ramp[None, None, :, None] * 0.5
    shift = generator.uniform(0, 40, (count, 1, 1, 3))
    return np.asarray(base + shift + generator.normal(0, 4, (count, side, side, 3))).clip(0, 255).astype(np.uint8)


def make_rlds(folder: Path, episodes: int, cameras: int, side: int, validation: int = 0) -> None:
    """Cameras as JPEG, a state, an action and an instruction, as Open X-Embodiment has them, written by TFDS.

    validation: the number of those episodes that are in a split `val`; the others are in `train`.
    """
    import numpy as np
    import tensorflow_datasets as tfds

    f = tfds.features
    images = {f"image_{i}": f.Image(shape=(side, side, 3), encoding_format="jpeg") for i in range(cameras)}
    numbers = {name: f.Tensor(shape=(7,), dtype=np.float32) for name in ("state", "action")}
    flags = {name: f.Scalar(np.bool_) for name in ("is_first", "is_last", "is_terminal")}
    step = {
        "observation": {**images, "state": numbers["state"]},
        "action": numbers["action"],
        "reward": f.Scalar(np.float32),
        "language_instruction": f.Text(),
        **flags,
    }

    def steps(seed: int) -> Iterator[dict[str, Any]]:
        generator = np.random.default_rng(seed)
        seen = {name: pictures(generator, STEPS, side) for name in images}
        numbers = generator.uniform(-1, 1, (2, STEPS, 7)).astype(np.float32)
        for i in range(STEPS):
            ends = i == STEPS - 1
            yield {
                "observation": {**{name: frames[i] for name, frames in seen.items()}, "state": numbers[0, i]},
                "action": numbers[1, i],
                "reward": float(ends),
                "language_instruction": "put the block into the bowl",
                "is_first": i == 0,
                "is_last": ends,
                "is_terminal": ends,
            }

    first = episodes - validation
    splits = {"train": range(first), "val": range(first, episodes)}
    tfds.dataset_builders.AdhocBuilder(
        name="bench_set",
        version="1.0.0",
        features=f.FeaturesDict({"steps": f.Dataset(step)}),
        split_datasets={
            split: ((seed, {"steps": list(steps(seed))}) for seed in seeds) for split, seeds in splits.items() if seeds
        },
        data_dir=folder,
    ).download_and_prepare()


def enlarge_rlds(folder: Path, episodes: int) -> None:
    """Shards of 100 records: the first is that of the small dataset, the others have its size and no content."""
    dataset = folder / "bench_set/1.0.0"
    info = json.loads((dataset / "dataset_info.json").read_text(encoding="utf-8"))
    (small,) = dataset.glob("*.tfrecord-*")
    count, size = episodes // 100, small.stat().st_size
    info["splits"][0] |= {"shardLengths": ["100"] * count, "numBytes": str(size * count)}
    (dataset / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    for number in range(1, count):
        with open(dataset / f"bench_set-train.tfrecord-{number:05d}-of-{count:05d}", "wb") as file:
            file.truncate(size)  # takes no room on the disk
    small.rename(dataset / f"bench_set-train.tfrecord-00000-of-{count:05d}")


def rlds_by_tfds(folder: Path) -> int:
    """Iterate over the steps of each episode, as TFDS's documentation of RLDS does."""
    return _rlds_episodes(folder, lambda steps: steps)


def rlds_by_tfds_in_batches(folder: Path) -> int:
    """The same with all steps of an episode as one batch."""
    return _rlds_episodes(folder, lambda steps: steps.batch(STEPS))


def _rlds_episodes(folder: Path, arranged: Callable[[Any], Any]) -> int:
    import tensorflow_datasets as tfds

    count = 0
    for episode in tfds.builder_from_directory(folder / "bench_set/1.0.0").as_dataset("train"):
        for _ in tfds.as_numpy(arranged(episode["steps"])):
            pass
        count += 1
    return count


def rlds_case(cameras: int, side: int) -> Case:
    return Case(
        functools.partial(make_rlds, cameras=cameras, side=side),
        "rlds:{folder}/bench_set/1.0.0",
        {"TFDS": rlds_by_tfds, "TFDS, steps in one batch": rlds_by_tfds_in_batches},
        enlarge_rlds,
    )


_OTHERS = LEROBOT_CASES | HDF5_CASES | REPLAY_CASES | PICTURE_CASES | RECORDING_CASES | TABLE_CASES
CASES = {
    "rlds": rlds_case(cameras=4, side=64),  # as the Bridge files of Octo's tests
    "rlds-256": rlds_case(cameras=1, side=256),  # decoding the pictures is most of the work, of both
    **{name: Case(**case) for name, case in _OTHERS.items()},
}


def convert(case: Case, folder: Path) -> int:
    """Convert a case's files to a dataset and verify it; returns the number of its episodes."""
    from pipelines import convert, make_plan
    from pipelines.conversion.reject_budget import RejectBudget
    from pipelines.conversion.write_partition import write_here
    from pipelines.inspection.verify import verify

    out = folder / "out/bench/1.0.0"
    shutil.rmtree(folder / "out", ignore_errors=True)
    out.parent.mkdir(parents=True)
    plan, tokenizer = make_plan([case.source.format(folder=folder)], out)
    manifest = convert(plan, tokenizer, out, RejectBudget("0"), write_here)
    faults = list(verify(out))
    if faults:
        sys.exit(str(faults[0]))
    return int(manifest["episodes"]["written"])


def read(case: Case, folder: Path) -> int:
    """Read a case's files to episodes, which are not tokenized; returns their number."""
    from gato_tokenize import Episode
    from pipelines.sources import open_source
    from pipelines.sources.reading import read_partition

    source = open_source(case.source.format(folder=folder))
    outcomes = (outcome for part in source.partitions() for _, outcome in read_partition(source, part))
    return sum(isinstance(outcome, Episode) for outcome in outcomes)


def plan(case: Case, folder: Path) -> int:
    """Plan a conversion of a case's files; returns the number of episodes that its partitions announce."""
    from pipelines import make_plan

    planned, _ = make_plan([case.source.format(folder=folder)], folder / "out/planned/1.0.0")
    return sum(work.most or 0 for work in planned.partitions)


def child(name: str, way: str, folder: Path) -> None:
    """Run one way of a case in this process, and print {"episodes", "seconds"}."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    case = CASES[name]
    ours = {"read": read, "converted": convert, "planned": plan}
    if way in ours:
        import pipelines.conversion.convert
        import pipelines.inspection.verify  # noqa: F401  # importing is no part of the measured time
        from pipelines.sources import source_class

        source_class(case.source.partition(":")[0])
    else:
        importlib.import_module(case.imports)
    start = time.process_time()
    episodes = ours[way](case, folder) if way in ours else case.bare[way](folder)
    print(json.dumps({"episodes": episodes, "seconds": time.process_time() - start}))


def measured(name: str, way: str, folder: Path) -> tuple[float, float, int]:
    """(CPU seconds, peak MiB, episodes) of one way, in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.bench_sources", "--child", name, way, str(folder)]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(words, stdout=output, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        lines = output.read().splitlines()
    if process.returncode or not lines:
        sys.exit(f"exit code {process.returncode} of {' '.join(words)}")
    found = json.loads(lines[-1])
    return found["seconds"], used.ru_maxrss / 1024, found["episodes"]


def make(name: str, folder: Path, episodes: int, way: str = "make") -> None:
    """Make a case's files in another process: the peak memory of a child begins with what its parent holds."""
    words = [sys.executable, "-m", "benchmarks.bench_sources", "--child", name, way, str(folder)]
    subprocess.run(
        [*words, "--episodes", str(episodes)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def compare(name: str, folder: Path, arguments: argparse.Namespace) -> None:
    case = CASES[name]
    make(name, folder, arguments.episodes)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    ways = [*case.bare, "read", "converted"]
    runs: dict[str, list[tuple[float, float, int]]] = {way: [] for way in ways}
    for turn in range(arguments.repeats):
        for way in ways[:: -1 if turn % 2 else 1]:
            runs[way].append(measured(name, way, folder))
    print(f"\n{name}: {arguments.episodes} episodes of {case.steps} timesteps, {size:.0f} MB")
    print(f"{'':<28}{'episodes/s':>11}{'MB/s':>8}{'peak MiB':>10}   converted is so many times as fast")
    seconds = {way: median(run[0] for run in of_way) for way, of_way in runs.items()}
    peaks: dict[str, float] = {}
    for way in ways:
        if {run[2] for run in runs[way]} != {arguments.episodes}:
            sys.exit(f"{name}, {way}: read {runs[way][0][2]} episodes")
        ratio = f"{seconds[way] / seconds['converted']:>12.2f}x" if way != "converted" else ""
        peaks[way] = peak = median(run[1] for run in runs[way])
        print(f"{way:<28}{arguments.episodes / seconds[way]:>11.1f}{size / seconds[way]:>8.1f}{peak:>10.0f}{ratio}")
    if case.few:
        compare_memory(name, folder, case.few, peaks["converted"])
    if case.enlarge is None:
        return
    make(name, folder, arguments.planned, "enlarge")
    seconds_planned, peak, episodes = measured(name, "planned", folder)
    print(f"planning {episodes} episodes: {seconds_planned:.1f} s of CPU, peak {peak:.0f} MiB")


def compare_memory(name: str, folder: Path, few: int, peak: float) -> None:
    """Print the peak memory of a conversion beside that of one of few episodes."""
    small = folder / "few"
    small.mkdir()
    make(name, small, few)
    of_few = measured(name, "converted", small)[1]
    print(f"converting {few} episodes: peak {of_few:.0f} MiB; all of them took {peak / of_few:.2f} times as much")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), metavar="NAME")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--planned", type=int, default=100_000, help="episodes of the dataset that is only planned")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", help="where the temporary files go (default: the system's temporary folder)")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        name, way, folder = arguments.child
        if way in ("make", "enlarge"):
            getattr(CASES[name], way)(Path(folder), arguments.episodes)
            return
        return child(name, way, Path(folder))
    print(f"load average {os.getloadavg()[0]:.1f} at the start, {os.cpu_count()} cores")
    for name in arguments.only:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            compare(name, Path(folder), arguments)


if __name__ == "__main__":
    main()
