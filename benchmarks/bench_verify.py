"""`gato-data verify` against sha256 of the same files, each in a separate process, in turns.

    python -m benchmarks.bench_verify [--megabytes N] [--repeats N] [--deep] [--folder DIR]

It needs apache-beam for the conversions that make the datasets: photographs (records that are large and do not shrink)
and documents (many small records). The files are in the page cache: no disk hides the difference. The time that both
take for an empty dataset (starting Python, importing) is printed separately and left out of the second pair of ratios.
`--deep` also runs `verify --deep` once, which parses every record and decodes every picture and takes minutes.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TypeAlias

from benchmarks.bench_conversion import REPOSITORY, archives, photograph

Seconds: TypeAlias = dict[str, tuple[float, float]]  # {way: (wall, CPU)}
SHA256 = """
import hashlib, pathlib, sys
for path in sorted(pathlib.Path(sys.argv[1]).rglob("*")):
    if path.is_file():
        with open(path, "rb") as file:
            hashlib.file_digest(file, "sha256").hexdigest()
"""
WORDS = "the quick brown fox jumps over a lazy dog and runs away from here to there without any reason".split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=1000, help="of photographs; a twentieth of it documents")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--deep", action="store_true")
    parser.add_argument("--folder", help="where the temporary files go (default: the system's temporary folder)")
    arguments = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} at the start, {os.cpu_count()} cores")
    print(f"\n{'':<14}{'MB':>6}{'records':>9}{'sha256 s':>10}{'verify s':>10}   ratio of wall, CPU; beyond start-up")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        documents(folder / "few.jsonl", 1e4)
        few = convert(f"text:{folder}/few.jsonl", folder / "out/few/1.0.0")
        start = measure("start-up", few, arguments, {"sha256": (0.0, 0.0), "verify": (0.0, 0.0)})
        pictures = archives(folder / "pictures", [photograph(seed) for seed in range(8)], arguments.megabytes * 1e6)
        measure(
            "photographs", convert(f"image-text:{pictures}/*.tar", folder / "out/photographs/1.0.0"), arguments, start
        )
        documents(folder / "documents.jsonl", arguments.megabytes * 5e4)
        made = convert(f"text:{folder}/documents.jsonl", folder / "out/documents/1.0.0")
        measure("documents", made, arguments, start)


def documents(path: Path, size: float) -> None:
    generator = random.Random(0)
    with open(path, "w", encoding="utf-8") as file:
        while file.tell() < size:
            file.write(json.dumps({"text": " ".join(generator.choices(WORDS, k=300))}) + "\n")


def convert(source: str, out: Path) -> Path:
    words = [sys.executable, "-m", "pipelines", "convert", source, "--out", str(out)]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return out


def measure(what: str, dataset: Path, arguments: argparse.Namespace, start: Seconds) -> Seconds:
    """Print the median (wall, CPU) seconds of each way with their ratios: whole, and without `start`."""
    verify = [sys.executable, "-m", "pipelines", "verify", str(dataset)]
    ways = {"sha256": [sys.executable, "-c", SHA256, str(dataset)], "verify": verify}
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for turn in range(arguments.repeats + 1):  # the first fills the page cache
        for way, words in list(ways.items())[:: -1 if turn % 2 else 1]:
            seconds = run(words)
            if turn:
                times[way].append(seconds)
    found = {way: (median(wall for wall, _ in runs), median(cpu for _, cpu in runs)) for way, runs in times.items()}
    records = sum(split["records"] for split in json.loads((dataset / "manifest.json").read_text())["splits"].values())
    size = sum(path.stat().st_size for path in dataset.rglob("*") if path.is_file()) / 1e6
    print(f"{what:<14}{size:>6.0f}{records:>9}" + "".join(f"{found[way][0]:>10.2f}" for way in ways), end="   ")
    ratios = [found["verify"][i] / found["sha256"][i] for i in range(2)]
    ratios += [(found["verify"][i] - start["verify"][i]) / (found["sha256"][i] - start["sha256"][i]) for i in range(2)]
    print("{:.2f}x, {:.2f}x; {:.2f}x, {:.2f}x".format(*ratios), end="")
    print(f"; --deep {run([*verify, '--deep'])[0] / found['sha256'][0]:.0f}x" if arguments.deep else "", flush=True)
    return found


def run(words: list[str]) -> tuple[float, float]:
    """Measure the (wall, CPU) seconds of one process, which must succeed."""
    start = time.perf_counter()
    process = subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"exit code {process.returncode} of {' '.join(words)}")
    return time.perf_counter() - start, used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
