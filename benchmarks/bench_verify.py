"""`gato-data verify` against sha256 of the same files, each a process of its own, in turns.

    python -m benchmarks.bench_verify [--megabytes N] [--repeats N] [--folder DIR]

needs apache-beam for the conversions that make the datasets: photographs (records that are large and do not shrink)
and documents (many small records). The files are in the page cache: no disk hides the difference. What both take for a
dataset of no size, starting Python and importing, is printed on its own. `--deep` also parses every record and decodes
every picture; it is run once.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.bench_conversion import REPOSITORY, archives, photograph

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
    parser.add_argument("--folder", help="where the temporary files go (default: the system's temporary folder)")
    arguments = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} at the start, {os.cpu_count()} cores")
    print(f"\n{'':<14}{'MB':>6}{'records':>9}{'sha256 s':>10}{'verify s':>10}   verify to sha256: wall, CPU")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        documents(folder / "few.jsonl", 1e4)
        measure("start-up", convert(f"text:{folder}/few.jsonl", folder / "out/few/1.0.0"), arguments)
        pictures = archives(folder / "pictures", [photograph(seed) for seed in range(8)], arguments.megabytes * 1e6)
        measure("photographs", convert(f"image-text:{pictures}/*.tar", folder / "out/photographs/1.0.0"), arguments)
        documents(folder / "documents.jsonl", arguments.megabytes * 5e4)
        made = convert(f"text:{folder}/documents.jsonl", folder / "out/documents/1.0.0")
        measure("documents", made, arguments)


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


def measure(what: str, dataset: Path, arguments: argparse.Namespace) -> None:
    verify = [sys.executable, "-m", "pipelines", "verify", str(dataset)]
    ways = {"sha256": [sys.executable, "-c", SHA256, str(dataset)], "verify": verify}
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for turn in range(arguments.repeats + 1):  # the first fills the page cache
        for way, words in list(ways.items())[:: -1 if turn % 2 else 1]:
            seconds = run(words)
            if turn:
                times[way].append(seconds)
    wall, cpu = ({way: statistics.median(run[i] for run in runs) for way, runs in times.items()} for i in range(2))
    records = sum(split["records"] for split in json.loads((dataset / "manifest.json").read_text())["splits"].values())
    size = sum(path.stat().st_size for path in dataset.rglob("*") if path.is_file()) / 1e6
    print(f"{what:<14}{size:>6.0f}{records:>9}" + "".join(f"{wall[way]:>10.2f}" for way in ways), end="")
    print(f"   {wall['verify'] / wall['sha256']:.2f}x, {cpu['verify'] / cpu['sha256']:.2f}x", end="")
    print(f"; --deep {run([*verify, '--deep'])[0] / wall['sha256']:.0f}x", flush=True)


def run(words: list[str]) -> tuple[float, float]:
    """(wall, CPU) seconds of one process that must end well."""
    start = time.perf_counter()
    process = subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"exit code {process.returncode} of {' '.join(words)}")
    return time.perf_counter() - start, used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
