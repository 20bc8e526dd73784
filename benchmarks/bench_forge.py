"""Whole conversions by `gato-data convert` and by forge-robotics, the widest other converter, of the same files.

    make .venv-forge/.installed
    python -m benchmarks.bench_forge [--forge .venv-forge/bin/forge] [--episodes 20] [--repeats 3]

Each command runs on one core, in turns, with all its start-up. Ours writes verified TFRecord episodes that hold every
pixel or the source's own JPEG, those of ALOHA at 96x128; forge-robotics writes LeRobot v3, whose videos lose some, at
the source's size: these are the usual outputs of both, and not the same work. CPU time and peak memory are
those of the command and its children; episodes are those that its output holds, of those that the files hold.
"""

import argparse
import dataclasses
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.bench_sources import make_rlds
from benchmarks.hdf5_cases import make_aloha
from benchmarks.replay_cases import make_zarr
from gato_tokenize import Dataset


@dataclasses.dataclass(frozen=True)
class Files:
    """make: writes files of so many episodes below a folder. path: what forge reads. source: what we read."""

    make: Callable[[Path, int], None]
    path: str
    source: str


def rlds(folder: Path, episodes: int) -> None:
    make_rlds(folder, episodes, cameras=4, side=64, validation=episodes // 2)


FILES = {
    "RLDS, half of it in a split `val`": Files(rlds, "bench_set/1.0.0", "rlds:{folder}/bench_set/1.0.0"),
    **{
        f"ALOHA, two cameras of 480x640 {form}": Files(
            functools.partial(make_aloha, jpeg=jpeg, steps=10), "", "aloha:{folder}?resize=96x128&task=aloha"
        )
        for form, jpeg in (("as pixels", False), ("as JPEG", True))
    },
    "Zarr of diffusion policy": Files(make_zarr, "pusht.zarr", "zarr:{folder}/pusht.zarr"),
}


def run(words: list[str]) -> tuple[float, float, str]:
    """Run a command on one core: (CPU seconds, peak MiB, what was wrong with it)."""
    core = min(os.sched_getaffinity(0))
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            words, stdout=output, stderr=output, preexec_fn=lambda: os.sched_setaffinity(0, {core})
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().strip()
    wrong = f"exit code {process.returncode}: {text.splitlines()[-1] if text else ''}" if process.returncode else ""
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, wrong


def by_us(files: Files, folder: Path, out: Path, forge: str) -> tuple[float, float, str]:
    source = files.source.format(folder=folder)
    words = ["-m", "pipelines", "convert", source, "--out", str(out / "bench/1.0.0"), "--quiet"]
    seconds, peak, wrong = run([sys.executable, *words])
    if wrong:
        return seconds, peak, wrong
    dataset = Dataset.open(out / "bench/1.0.0")
    splits = {split: sum(1 for _ in dataset.records(split)) for split in dataset.splits}
    return seconds, peak, f"{sum(splits.values())} episodes; splits {', '.join(splits)}"


def by_forge(files: Files, folder: Path, out: Path, forge: str) -> tuple[float, float, str]:
    words = ["convert", str(folder / files.path), str(out / "lerobot"), "--format", "lerobot-v3", "--fps", "10"]
    seconds, peak, wrong = run([forge, *words])
    info = out / "lerobot/meta/info.json"
    if wrong or not info.exists():
        return seconds, peak, wrong or "nothing was written"
    found = json.loads(info.read_text(encoding="utf-8"))
    return seconds, peak, f"{found['total_episodes']} episodes; splits {', '.join(found.get('splits', {}))}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--forge", default=".venv-forge/bin/forge", help="(default %(default)s)")
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--make", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        name, folder = arguments.make
        return FILES[name].make(Path(folder), arguments.episodes)
    if shutil.which(arguments.forge) is None:
        parser.error(f"there is no command {arguments.forge}; see above how to install it")
    for name, files in FILES.items():
        print(f"\n{name}: {arguments.episodes} episodes")
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made) / "files"
            folder.mkdir()
            # In another process: the peak memory of a child begins with what its parent holds.
            words = [sys.executable, "-m", "benchmarks.bench_forge", "--make", name, str(folder)]
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            subprocess.run([*words, "--episodes", str(arguments.episodes)], check=True, **quiet)
            runs: dict[str, list[tuple[float, float, str]]] = {"gato-data": [], "forge": []}
            for _ in range(arguments.repeats):
                for way, function in (("gato-data", by_us), ("forge", by_forge)):
                    with tempfile.TemporaryDirectory() as out:
                        runs[way].append(function(files, folder, Path(out), arguments.forge))
        for way, of_way in runs.items():
            seconds, peak = (median(run[i] for run in of_way) for i in range(2))
            print(f"  {way:<10} {seconds:>7.1f} s of CPU time, peak {peak:>5.0f} MiB, {of_way[0][2]}")
        ours, theirs = ([median(run[i] for run in runs[way]) for i in range(2)] for way in runs)
        print(f"  forge takes {theirs[0] / ours[0]:.2f}x the CPU time and {theirs[1] / ours[1]:.2f}x the memory")


if __name__ == "__main__":
    main()
