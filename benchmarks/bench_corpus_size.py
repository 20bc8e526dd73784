"""What a corpus of the paper's size takes, worked out from the conversion of a small one: core hours, bytes, shards.

    python -m benchmarks.bench_corpus_size [--tokens 1.5e12] [--each 100]

It needs apache-beam and tensorflow. It converts the four kinds of episodes that `bench_batches` makes, by the plain
loop of one process, and prints for each the bytes and the CPU time of a token. CPU time includes making the episodes,
which stands for reading them: a source that must decode video takes longer. The rest is multiplication: so many tokens
of that kind alone, in shards of `--each` MB.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from benchmarks.bench_batches import NAMES, MadeSource
from pipelines.conversion.convert import convert
from pipelines.conversion.plan import make_plan
from pipelines.conversion.reject_budget import RejectBudget
from pipelines.conversion.write_partition import write_here
from pipelines.sources import SOURCES


def measured(name: str, out: Path) -> tuple[int, int, float]:
    """Convert one kind; return its tokens, the bytes of its shards, and the CPU seconds."""
    began = time.process_time()
    plan, tokenizer = make_plan([f"made:{name}"], out)
    convert(plan, tokenizer, out, RejectBudget("0"), write_here)
    took = time.process_time() - began
    split = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["splits"]["train"]
    return split["tokens"], split["bytes"], took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=float, default=1.5e12, help="of the corpus (default: the paper's)")
    parser.add_argument("--each", type=float, default=100, help="MB of a shard")
    given = parser.parse_args()
    SOURCES["made"] = f"{MadeSource.__module__}:{MadeSource.__name__}"
    print(f"{given.tokens:.3g} tokens in shards of {given.each:g} MB")
    print(f"{'kind':<12}{'bytes a token':>15}{'tokens a CPU s':>16}{'TB':>9}{'core hours':>13}{'shards':>11}")
    for name in NAMES:
        with tempfile.TemporaryDirectory() as folder:
            tokens, size, seconds = measured(name, Path(folder, name, "1.0.0"))
        whole = given.tokens / tokens
        print(f"{name:<12}{size / tokens:>15.2f}{tokens / seconds:>16,.0f}{size * whole / 1e12:>9.1f}"
              f"{seconds * whole / 3600:>13,.0f}{size * whole / given.each / 1e6:>11,.0f}")  # fmt: skip


if __name__ == "__main__":
    main()
