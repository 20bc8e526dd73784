"""Many partitions: publishing takes memory for their counts alone."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from benchmarks.bench_scale import planned
from gato_tokenize.storage.manifest import manifest_bytes, manifest_parts
from pipelines.conversion import publish as publishing
from pipelines.conversion.publish import double_ids, publish
from pipelines.conversion.reject_budget import RejectBudget
from pipelines.conversion.work_folder import WorkFolder
from pipelines.conversion.write_partition import write_here


def peak_of_publishing(episodes: int, out: Path) -> int:
    plan, tokenizer = planned(episodes, 100, out)
    folder = WorkFolder.of(plan, out)
    with folder.locked():
        folder.save(tokenizer)
        write_here(folder)
    tracemalloc.start()
    publish(folder, out, RejectBudget())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_publishing_holds_the_statistics_of_no_partition(tmp_path: Path) -> None:
    """Those of one take more than 20 KB here, and its counts, hashes and file names 8."""
    peak_of_publishing(100, tmp_path / "warm/1.0.0")  # what is imported counts once
    few, many = (peak_of_publishing(n, tmp_path / f"n{n}/1.0.0") for n in (500, 3000))
    assert many - few < 25 * 15_000


def test_double_ids_are_found_in_files_as_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"episode {number}" for number in np.random.default_rng(0).permutation(3000)]
    lines = [{"segment_index": 0, "episode_id": name} for name in [*names, *names[:7]]]
    found = double_ids(lambda: iter(lines))
    monkeypatch.setattr(publishing, "_IN_MEMORY", 64)
    assert double_ids(lambda: iter(lines)) == found and double_ids(lambda: iter(lines[:3000])) == ([], 0)
    places, count = found
    assert count == 7 and places[0] == places[1] and places[0]["episode_id"] in names[:7]


def test_the_manifest_is_written_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = {"dataset": "töy", "files": {f"part-{number}": [number, {}] for number in range(200)}}
    whole = manifest_bytes(manifest)
    for pieces in (1, 7, 1000):
        monkeypatch.setattr("gato_tokenize.storage.manifest._PIECES", pieces)
        parts = list(manifest_parts(manifest))
        assert b"".join(parts) == whole and (len(parts) > 100) == (pieces < 10)
