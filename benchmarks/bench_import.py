"""Time of `import gato_tokenize` in a fresh process, and what it must not import.

    python -m benchmarks.bench_import

Processes take turns. Reported are medians of wall and CPU time, minus those of a process that imports nothing.
"""

import os
import statistics
import subprocess
import sys
import time

RUNS = 15
HEAVY = ("tensorflow", "apache_beam", "keras", "pandas", "torch")
STATEMENTS = ("pass", "import numpy", "import gato_tokenize", "import apache_beam")


def main() -> None:
    seconds: dict[str, list[tuple[float, float]]] = {statement: [] for statement in STATEMENTS if works(statement)}
    for _ in range(RUNS):
        for statement, times in seconds.items():
            times.append(measured(statement))
    bare = [statistics.median(column) for column in zip(*seconds["pass"], strict=True)]
    ours = [statistics.median(column) for column in zip(*seconds["import gato_tokenize"], strict=True)]
    print(f"{'':24}{'wall s':>8}{'CPU s':>8}{'of ours':>9}")
    for statement, times in seconds.items():
        wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
        if statement == "pass":
            print(f"{'a process, no import':24}{wall:8.3f}{cpu:8.3f}")
        else:
            ratio = (cpu - bare[1]) / (ours[1] - bare[1])
            print(f"{statement:24}{wall - bare[0]:8.3f}{cpu - bare[1]:8.3f}{ratio:8.2f}x")
    loaded = output(f"import sys, gato_tokenize; print(*[name for name in {HEAVY} if name in sys.modules])")
    print(f"of {', '.join(HEAVY)} gato_tokenize has imported: {loaded or 'none'}")


def works(statement: str) -> bool:
    return subprocess.run([sys.executable, "-c", statement], capture_output=True).returncode == 0


def measured(statement: str) -> tuple[float, float]:
    """Measure the (wall, CPU) seconds of a process."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", statement], stderr=subprocess.DEVNULL)
    _, _, used = os.wait4(process.pid, 0)
    process.returncode = 0
    return time.perf_counter() - start, used.ru_utime + used.ru_stime


def output(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
