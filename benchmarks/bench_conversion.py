"""A conversion through Beam against the same loop without Beam, two workers against one, and its peak memory.

    python -m benchmarks.bench_conversion [--full] [--repeats N] [--folder DIR]

It needs apache-beam. It makes pictures with captions and converts them: archives of JPEG files of 640 x 480 pixels with
the spectrum and the grain of photographs. Every run is a separate command, the one that a user types:

    loop          write_partition for every partition, then publish, in one process that never imports Beam
    1, 2 workers  python -m pipelines convert --workers N

A time is what 10 archives take beyond what 2 take, which excludes what happens once (starting Python, importing Beam,
starting its workers); that has a column of its own. Runs take turns, and the table has medians; CPU counts all
processes of a run. Two workers need two idle cores: look at the load that is printed.

Memory is the largest process of the command. `--full` compares 0.4 GB with 4 GB (some minutes, 9 GB of disk);
without it, 0.04 GB with 0.4 GB.
"""

import argparse
import contextlib
import io
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from pipelines.conversion.convert import convert as convert_plan
from pipelines.conversion.plan import make_plan
from pipelines.conversion.reject_budget import RejectBudget
from pipelines.conversion.write_partition import write_here

REPOSITORY = Path(__file__).parent.parent
ARCHIVE_BYTES = 20_000_000
FEW, MANY = 2, 10  # archives, each a partition; even numbers, for two workers
CAPTION = "a picture with the spectrum of a photograph, made for a benchmark; it shows nothing"


class Run(NamedTuple):
    wall: float
    cpu: float
    peak: float  # MB of its largest process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="memory of 4 GB against 0.4 GB")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--folder", help="where the temporary files go (default: the system's temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        pictures = [photograph(seed) for seed in range(24)]
        print(f"load average {os.getloadavg()[0]:.1f} at the start, {os.cpu_count()} cores")
        speed(folder, pictures, arguments.repeats)
        memory(folder, pictures, (0.4e9, 4e9) if arguments.full else (0.04e9, 0.4e9))


def photograph(seed: int) -> bytes:
    """Draw a JPEG of 640 x 480: ever finer noise of ever less contrast, and grain."""
    generator = np.random.default_rng(seed)
    pixels = generator.normal(128, 4, (480, 640, 3))
    for cells in (4, 8, 16, 32, 64, 128):
        coarse = generator.normal(0, 1, (cells * 3 // 4, cells))
        smooth = Image.fromarray(coarse.astype(np.float32)).resize((640, 480), Image.Resampling.BICUBIC)
        pixels += np.asarray(smooth)[:, :, None] * generator.uniform(60, 140, 3) / cells**0.5
    out = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=92)
    return out.getvalue()


def archives(folder: Path, pictures: list[bytes], size: float) -> Path:
    """Write archives of ARCHIVE_BYTES, `size` bytes together, in webdataset's layout."""
    folder.mkdir()
    turns = itertools.cycle(pictures)
    for number in range(round(size / ARCHIVE_BYTES)):
        with tarfile.open(folder / f"{number:04d}.tar", "w") as archive:
            for index in itertools.count():
                if archive.offset >= ARCHIVE_BYTES:
                    break
                for extension, data in (("jpg", next(turns)), ("txt", CAPTION.encode())):
                    member = tarfile.TarInfo(f"{index:06d}.{extension}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
    return folder


def speed(folder: Path, pictures: list[bytes], repeats: int) -> None:
    few = archives(folder / "few", pictures, FEW * ARCHIVE_BYTES)
    many = archives(folder / "many", pictures, MANY * ARCHIVE_BYTES)
    ways = {"loop": [str(__file__), "loop"], "1 worker": convert(1), "2 workers": convert(2)}
    more: dict[str, list[Run]] = {way: [] for way in ways}
    once: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(repeats):
        for way, words in list(ways.items())[:: -1 if turn % 2 else 1]:
            small, large = (run(words, source, folder / "out") for source in (few, many))
            more[way].append(Run(large.wall - small.wall, large.cpu - small.cpu, large.peak))
            once[way].append(small.wall - more[way][-1].wall * FEW / (MANY - FEW))
    print(f"\n{'':<12}{'MB/s':>8}{'CPU s':>8}{'start-up s':>12}   ratio of MB/s, of CPU")
    size = (MANY - FEW) * ARCHIVE_BYTES / 1e6
    base = {"loop": "loop", "1 worker": "loop", "2 workers": "1 worker"}
    for way, runs in more.items():
        wall, cpu = (statistics.median(getattr(r, name) for r in runs) for name in ("wall", "cpu"))
        ratios = [statistics.median(getattr(r, name) for r in more[base[way]]) for name in ("wall", "cpu")]
        print(f"{way:<12}{size / wall:>8.1f}{cpu:>8.1f}{statistics.median(once[way]):>12.1f}", end="")
        print(f"   {ratios[0] / wall:.2f}x, {ratios[1] / cpu:.2f}x that of {base[way]}" if way != "loop" else "")
    shutil.rmtree(few)
    shutil.rmtree(many)


def memory(folder: Path, pictures: list[bytes], sizes: tuple[float, float]) -> None:
    print(f"\n{'input':<12}{'peak MB':>8}{'MB/s':>8}")
    peaks = []
    for size in sizes:
        source = archives(folder / "source", pictures, size)
        result = run(convert(1), source, folder / "out")
        peaks.append(result.peak)
        print(f"{size / 1e9:<4g} GB     {result.peak:>8.0f}{size / 1e6 / result.wall:>8.1f}   ", end="")
        print(f"{peaks[-1] / peaks[0]:.2f}x")
        shutil.rmtree(source)


def convert(workers: int) -> list[str]:
    return ["-m", "pipelines", "convert", "--workers", str(workers)]


def run(words: list[str], source: Path, folder: Path) -> Run:
    """Run one conversion by a separate command, and remove its output."""
    command = [sys.executable, *words, f"image-text:{source}/*.tar", "--out", str(folder / "pictures" / "1.0.0")]
    with removed(folder), tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=said, stderr=said)
        _, status, used = os.wait4(process.pid, 0)  # of this one command, unlike RUSAGE_CHILDREN
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            sys.exit(f"exit code {process.returncode} of {' '.join(command)}\n{said.read().decode()}")
    kilo = 1e6 if sys.platform == "darwin" else 1e3
    return Run(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / kilo)


@contextlib.contextmanager
def removed(folder: Path) -> Iterator[None]:
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def loop(source: str, out: Path) -> None:
    """Do what a conversion does, without Beam."""
    # Once a large block has been freed, as by Beam's imports, glibc no longer gives the memory of every picture back to
    # the system: without this the loop has ten times the page faults, and Beam would look faster than it is.
    bytearray(1 << 24)
    plan, tokenizer = make_plan([source], out)
    convert_plan(plan, tokenizer, out, RejectBudget(), write_here)


if __name__ == "__main__":
    if sys.argv[1:2] == ["loop"]:
        loop(sys.argv[2], Path(sys.argv[4]))
    else:
        main()
