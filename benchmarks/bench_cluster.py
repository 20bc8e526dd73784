"""What an engine costs over a local run: wall time, CPU time and memory of one conversion.

    python -m benchmarks.bench_cluster [--archives N] [--repeats N]

It needs apache-beam, for Prism the program `prism` on PATH, and for Dask the extra `dask`; what is not there is left
out. It converts archives of JPEG pictures with captions, those of bench_conversion, each a partition. Every run is a
separate command, the one that a user types, and engines are started by it:

    1, 2 workers  --workers N
    embedded      --engine portable --engine-address embed
    prism, dask   --engine NAME

Runs take turns, and the table has medians. CPU counts all processes of a run, also those that the command leaves behind
for a moment: this program adopts them (on Linux). Memory is the most that all processes below the command have held at
one time, as the sum of their proportional shares (PSS), looked at five times a second. A conversion of any size pays
the seconds that an engine and its workers take to start.
"""

import argparse
import contextlib
import ctypes
import importlib.util
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.bench_conversion import ARCHIVE_BYTES, REPOSITORY, Run, archives, photograph, removed

_PR_SET_CHILD_SUBREAPER = 36
WAYS = {
    "1 worker": ["--workers", "1"],
    "2 workers": ["--workers", "2"],
    "embedded": ["--engine", "portable", "--engine-address", "embed"],
    "prism": ["--engine", "prism"],
    "dask": ["--engine", "dask"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archives", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    ways = {way: words for way, words in WAYS.items() if there(way)}
    _adopt()
    runs: dict[str, list[Run]] = {way: [] for way in ways}
    print(f"load average {os.getloadavg()[0]:.1f} at the start, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as name:
        source = archives(
            Path(name) / "source", [photograph(seed) for seed in range(24)], arguments.archives * ARCHIVE_BYTES
        )
        for turn in range(arguments.repeats):
            for way, words in list(ways.items())[:: -1 if turn % 2 else 1]:
                runs[way].append(run(words, source, Path(name) / "out"))
    print(f"\n{'':<12}{'wall s':>8}{'CPU s':>8}{'MB':>8}   ratios to 1 worker: wall, CPU, memory")
    base = [statistics.median(column) for column in zip(*runs["1 worker"], strict=True)]
    for way, of_way in runs.items():
        found = [statistics.median(column) for column in zip(*of_way, strict=True)]
        ratios = ", ".join(f"{value / one:.2f}x" for value, one in zip(found, base, strict=True))
        print(f"{way:<12}{found[0]:>8.1f}{found[1]:>8.1f}{found[2]:>8.0f}   {ratios}")


def there(way: str) -> bool:
    found = {"prism": shutil.which("prism"), "dask": importlib.util.find_spec("distributed")}.get(way, True)
    if not found:
        print(f"{way} is not installed, and left out")
    return bool(found)


def run(words: list[str], source: Path, folder: Path) -> Run:
    """Run one conversion by a separate command, and remove its output."""
    command = [sys.executable, "-m", "pipelines", "convert", f"image-text:{source}/*.tar", *words, "--quiet"]
    with removed(folder), tempfile.TemporaryFile() as said:
        before, start = _children(), time.perf_counter()
        process = subprocess.Popen(
            [*command, "--out", str(folder / "pictures/1.0.0")], cwd=REPOSITORY, stdout=said, stderr=said
        )
        most = [0.0]
        watcher = threading.Thread(target=_watch, args=(process, most))
        watcher.start()
        process.wait()
        wall = time.perf_counter() - start
        watcher.join()
        _reap()
        if process.returncode:
            said.seek(0)
            sys.exit(f"exit code {process.returncode} of {' '.join(command)}\n{said.read().decode()}")
    return Run(wall, _children() - before, most[0])


def _adopt() -> None:
    """Become the parent of processes whose own has ended, so that their CPU time is counted."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _reap() -> None:
    """Wait for all that a run has left behind."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _watch(process: subprocess.Popen[bytes], most: list[float]) -> None:
    while process.poll() is None:
        most[0] = max(most[0], sum(map(_megabytes, _below(process.pid))))
        time.sleep(0.2)


def _below(pid: int) -> list[int]:
    """Return a process and all below it."""
    found = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [lower for child in path.read_text().split() for lower in _below(int(child))]
    return found


def _megabytes(pid: int) -> float:
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1e3
    return 0.0


if __name__ == "__main__":
    main()
