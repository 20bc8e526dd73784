"""The same bytes, however a conversion is run, killed and resumed."""

import contextlib
import dataclasses
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conversions import children, command, convert, slow_source, tree, write_documents, write_lines
from killed import kill_after, redone_nothing

from gato_tokenize import Dataset
from pipelines.conversion.convert import convert as run_plan
from pipelines.conversion.plan import make_plan
from pipelines.conversion.reject_budget import RejectBudget
from pipelines.conversion.write_partition import write_here
from pipelines.sources import open_source


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources are named by relative paths, so that plans are the same wherever the tests run."""
    monkeypatch.chdir(tmp_path)
    open_source.cache_clear()


def test_the_same_bytes_for_one_worker_and_two_whatever_the_machine_s_settings() -> None:
    source = write_documents()
    assert convert(source, "--validation-fraction", "0.3", out="one/toy/1.0.0") == 0
    strange = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    words = command(source, "--validation-fraction", "0.3", "--workers", "2", out="two/toy/1.0.0")
    subprocess.run(words, check=True, env=strange, capture_output=True, timeout=120)
    assert tree("one") == tree("two")


def test_without_beam_the_bytes_are_the_same() -> None:
    source = write_documents()
    assert convert(source, "--validation-fraction", "0.3", out="beam/toy/1.0.0") == 0
    plan, tokenizer = make_plan([source], Path("here/toy/1.0.0"), validation_fraction=0.3)
    manifest = run_plan(plan, tokenizer, Path("here/toy/1.0.0"), RejectBudget(), write_here)
    assert tree("beam") == tree("here") and manifest["episodes"]["written"] == 60


def test_a_limit_of_a_partition_is_kept() -> None:
    """Only the first candidates of a partition are read, as the plan for `--limit` asks."""
    out = Path("out/toy/1.0.0")
    plan, tokenizer = make_plan([write_documents()], out)
    works = [dataclasses.replace(work, limit=limit) for work, limit in zip(plan.partitions, (None, 7), strict=False)]
    plan = dataclasses.replace(plan, partitions=tuple(works))
    manifest = run_plan(plan, tokenizer, out, RejectBudget(), write_here)
    assert manifest["episodes"]["read"] == manifest["episodes"]["written"] == 27
    names = [record.metadata.episode_id for record in Dataset.open(out).records()]
    assert names[20:] == [f"docs-1.jsonl.gz#{number}" for number in range(1, 8)]


def killed_and_resumed(kills: int, workers: str) -> None:
    words = (slow_source(), write_documents(), "--workers", workers)
    started = time.monotonic()
    subprocess.run(command(*words, out="whole/toy/1.0.0"), check=True, capture_output=True, timeout=300)
    lasts = time.monotonic() - started
    whole, generator = tree("whole"), random.Random(kills)
    killed = 0
    done: dict[str, int] = {}  # of the partitions that are finished: their done-files' times
    while killed < kills:
        code = kill_after(generator.uniform(0.1, lasts), command(*words))
        killed += code != 0
        done = redone_nothing(done)
        if Path("out/toy/1.0.0").exists():  # not killed, or after the last rename
            assert tree("out") == whole
            shutil.rmtree("out")
            done = {}
        else:
            assert code != 0
    subprocess.run(command(*words), check=True, capture_output=True, timeout=300)
    redone_nothing(done)
    assert tree("out") == whole


def test_killed_and_resumed_it_is_the_same_to_the_byte() -> None:
    killed_and_resumed(kills=4, workers="1")


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_killed_at_many_instants(workers: str) -> None:
    killed_and_resumed(kills=30, workers=workers)


def test_killed_between_the_manifest_and_the_rename() -> None:
    source = write_documents()
    convert(source, "--validation-fraction", "0.01", out="whole/toy/1.0.0")
    plan, _ = make_plan([source], Path("out/toy/1.0.0"), validation_fraction=0.01)
    Path("out/toy").mkdir(parents=True)
    Path("whole/toy/1.0.0").rename(f"out/toy/.1.0.0.partial-{plan.sha256[:16]}")
    convert(source, "--validation-fraction", "0.01", out="again/toy/1.0.0")
    assert convert(source, "--validation-fraction", "0.01") == 0
    assert tree("out") == tree("again")


def test_ctrl_c_says_how_to_go_on() -> None:
    process = subprocess.Popen(command(slow_source(2000)), stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(Path("out").rglob("*.done.json")) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=15)
    assert process.returncode == 130
    assert "the same command goes on from there" in errors
    assert not Path("out/toy/1.0.0").exists()


@pytest.mark.parametrize("worker", [True, False])
def test_a_killed_process_costs_nothing(worker: bool) -> None:
    """A worker, or the process of the whole local pipeline: its work is done again, and the run goes on."""
    source = slow_source(150)
    assert convert(source, out="whole/toy/1.0.0") == 0
    words = command(source, "--workers", "2")
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(Path("out").rglob("*.done.json")) and time.monotonic() < deadline:
        time.sleep(0.1)
    workers = [pid for pid in children(process.pid) if "sdk_worker_main" in cmdline(pid)]
    os.kill(workers[-1] if worker else parent(workers[-1]), signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "now alone, one after the other" in errors and "left out" not in errors
    assert tree("out") == tree("whole")


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def cmdline(pid: int) -> str:
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def test_leftovers_of_dead_runs_are_cleaned() -> None:
    source = write_documents()
    plan, _ = make_plan([source], Path("out/toy/1.0.0"))
    folder = Path(f"out/toy/.1.0.0.partial-{plan.sha256[:16]}")
    (folder / "index").mkdir(parents=True)
    for name in (".toy-train.tfrecord-00000-of-00003.tmp-dead", "index/.x.idx.tmp-dead"):
        (folder / name).write_bytes(b"half")
    assert convert(source) == 0
    assert not [name for name in tree() if "tmp" in name]


def test_a_shard_that_is_gone_or_cut_is_written_again() -> None:
    source = write_documents()
    write_lines("docs-9.jsonl.gz", ["broken"])
    for out in ("whole/toy/1.0.0", "out/toy/1.0.0"):
        assert convert(source, "--max-rejects", "0%", out=out) == 3  # a share is judged when all are done
    shards = sorted(path for path in Path("out").rglob("toy-train*") if path.suffix != ".idx")
    shards[0].unlink()
    shards[1].write_bytes(shards[1].read_bytes()[:-1])
    assert convert(source, "--max-rejects", "1") == 0
    assert convert(source, "--max-rejects", "1", out="whole/toy/1.0.0") == 0
    assert tree("out") == tree("whole")
