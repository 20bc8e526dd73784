"""Datasets in an object store are checked, shown and read as on a disk, through a bounded cache, and trained on."""

import contextlib
import gzip
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conversions import convert, write_documents, write_pictures
from faulty_store import proxied
from s3_server import s3_server, upload

from gato_model.data.batches import batches
from gato_model.data.share import Share
from gato_tokenize import CorruptRecordError, Dataset
from gato_tokenize.storage.store_path import StorePath
from pipelines.__main__ import main
from pipelines.inspection.verify import verify

AWAY = "s3://bucket/sets/toy/1.0.0"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with two splits, several shards, a reject, pictures and rollouts of several records."""
    folder = tmp_path_factory.mktemp("made")
    with contextlib.chdir(folder):
        sources = write_documents(), write_pictures(), "rollouts:BabyAI-GoToLocal-v0?episodes=6&image=rgb"
        Path("3.png").write_bytes(b"no picture")
        assert convert(*sources, "--validation-fraction", "0.3", "--max-rejects", "1") == 0
    return folder / "out/toy/1.0.0"


@pytest.fixture
def server(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATO_CACHE", str(tmp_path / "cache"))
    with s3_server(monkeypatch) as url:
        upload(made, AWAY)
        yield url


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(words) == 0
    return capsys.readouterr().out


def test_every_command_that_reads_says_the_same(
    made: Path, server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["verify"], ["verify", "--deep"], ["inspect"], ["inspect", "--episode", "7"], ["rejects", "list"]):
        here, there = (printed(capsys, words[0], *words[1:2], place, *words[2:]) if words[0] == "rejects" else
                       printed(capsys, words[0], place, *words[1:]) for place in (str(made), AWAY))  # fmt: skip
        assert there.replace(AWAY, "X") == here.replace(str(made), "X")
    for place, page in ((str(made), "here.html"), (AWAY, "there.html")):
        printed(capsys, "report", place, "--out", page)
    assert Path("there.html").read_text().replace(AWAY, "X") == Path("here.html").read_text().replace(str(made), "X")
    found = json.loads(printed(capsys, "verify", AWAY, "--json"))
    assert found == {"dataset": AWAY, "sound": True, "faults": []}


def test_a_dataset_is_the_same_sequence(made: Path, server: str) -> None:
    here, there = Dataset.open(made), Dataset.open(AWAY)
    assert there.path == StorePath(AWAY) and there.manifest == here.manifest and there.stats == here.stats
    assert [one.metadata for one in there] == [one.metadata for one in here] and len(there) == len(here) > 60
    assert there[7].metadata == here[7].metadata and there[-1].metadata == here[-1].metadata
    for split in here.splits:
        assert [one.to_bytes() for one in there.records(split)] == [one.to_bytes() for one in here.records(split)]
        assert there.record(5, split).to_bytes() == here.record(5, split).to_bytes()
    assert len(pickle.loads(pickle.dumps(there))) == len(here)
    assert repr(there).startswith(f"<Dataset {AWAY}: ")


def test_batches_are_the_same_and_come_once(made: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: str, count: int = 40) -> list[dict[str, np.ndarray]]:
        reader = batches([Share(path, weight=2.0)], batch_size=8, sequence_length=256, seed=3, cache_bytes=0)
        return [reader.batch(step) for step in range(count)]

    here = read(str(made))
    with proxied(monkeypatch, server) as proxy:
        there = read(AWAY)
        shards = [path for method, path, _ in proxy.requests if method == "GET" and ".tfrecord-" in path]
        assert len(shards) == len(set(shards)), "a block is fetched once, whatever number of rounds reads it"
        before = len(shards)
        again = read(AWAY, 10)  # a new reader, as of another process
        shards = [path for method, path, _ in proxy.requests if method == "GET" and ".tfrecord-" in path]
        assert len(shards) == before
    for one, two in zip(here, there, strict=True):
        assert one.keys() == two.keys() and all(np.array_equal(one[name], two[name]) for name in one)
    assert all(np.array_equal(one[name], two[name]) for one, two in zip(there, again, strict=False) for name in one)


@pytest.mark.parametrize("fate", ["busy", "cut", "drop"])
def test_a_store_that_fails_every_tenth_time(
    fate: str, made: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxied(monkeypatch, server, lambda number, method, path: fate if number % 10 == 0 else "") as proxy:
        assert list(verify(AWAY, deep=True)) == []
        reader = batches(AWAY, batch_size=8, sequence_length=256)
        local = batches(str(made), batch_size=8, sequence_length=256)
        for step in range(20):
            one, two = reader.batch(step), local.batch(step)
            assert all(np.array_equal(one[name], two[name]) for name in one)
        assert len(proxy.requests) > 60


def test_a_store_that_is_gone_is_no_damage(
    server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gato_tokenize.storage.address.WAIT", 0.001)
    reader = batches(AWAY, batch_size=8, sequence_length=256)
    with proxied(monkeypatch, server, lambda *_: "busy"):
        for command in (["verify", AWAY], ["inspect", AWAY], ["report", AWAY], ["rejects", "list", AWAY]):
            assert main(command) == 2
            assert re.search("no answer after 5 tries.*s3://bucket/sets/toy/1.0.0", capsys.readouterr().err)
        with pytest.raises(OSError, match="s3://bucket/sets/toy/1.0.0/") as raised:
            reader.batch(0)
        assert not isinstance(raised.value, CorruptRecordError)
    assert not Path("report.html").exists()


def test_verify_asks_the_store_for_every_byte(made: Path, server: str, tmp_path: Path) -> None:
    """What is in the cache, or changed behind it, deceives nobody."""
    dataset = Dataset.open(AWAY)
    list(dataset.records())
    shard = next(path for path in dataset.shards() if path.size > 1000)  # type: ignore[union-attr]
    data = bytearray(shard.read_bytes())
    data[500] ^= 1
    (tmp_path / shard.name).write_bytes(data)
    upload(_alone(tmp_path, shard.name), AWAY)
    assert [fault.file for fault in verify(AWAY)] == [shard.name]
    with pytest.raises(CorruptRecordError, match=re.escape(str(shard))):
        list(Dataset.open(AWAY).records())  # its ETag is another: the cached blocks are not those of this file


def _alone(folder: Path, name: str) -> Path:
    (folder / "alone").mkdir()
    (folder / name).rename(folder / "alone" / name)
    return folder / "alone"


def test_what_is_missing_or_more_than_expected_is_a_fault(server: str, tmp_path: Path) -> None:
    folder = StorePath(AWAY)
    names = sorted(name for name in folder.files() if name.endswith(".idx"))
    (folder / names[0]).unlink()
    Path("more").mkdir()
    Path("more/note.txt").write_text("x")
    upload(Path("more"), f"{AWAY}/index")
    assert {fault.file for fault in verify(AWAY)} == {names[0], "index/note.txt"}


def test_the_cache_keeps_to_its_bound(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Path) -> None:
    monkeypatch.setenv("GATO_CACHE_SIZE", "100K")
    list(Dataset.open(AWAY))
    held = sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert held < 200 << 10
    monkeypatch.setenv("GATO_CACHE", str(tmp_path / "none"))
    monkeypatch.setenv("GATO_CACHE_SIZE", "0")
    assert [one.metadata for one in Dataset.open(AWAY)] == [one.metadata for one in Dataset.open(made)]
    assert not (tmp_path / "none").exists()


def test_no_dataset_there(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    for place, what in ((f"{AWAY}/nothing", "there is nothing"), ("s3://bucket/sets", "a folder of something else"),
                        (f"{AWAY}/stats.json", "it is a file")):  # fmt: skip
        assert main(["verify", place]) == 2
        assert f"{place} is no complete dataset: " in (said := capsys.readouterr().err) and what in said
    with pytest.raises(ValueError, match="nothere"):
        Dataset.open("nothere://bucket/toy/1.0.0")


def test_edits_and_retries_read_from_a_store(
    made: Path, server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["filter", str(made), "here/toy/2.0.0", "--task", "text"]) == 0
    assert main(["filter", AWAY, "there/toy/2.0.0", "--task", "text"]) == 0
    names = {path.relative_to("here") for path in Path("here").rglob("*") if path.is_file()}
    assert names == {path.relative_to("there") for path in Path("there").rglob("*") if path.is_file()}
    for name in names:
        assert (Path("here") / name).read_bytes() == (Path("there") / name).read_bytes(), name
    with gzip.open("there/toy/2.0.0/episodes.jsonl.gz") as file:
        assert {json.loads(line)["task"] for line in file} == {"text"}


def test_a_model_is_trained_on_it(server: str, tmp_path: Path) -> None:
    """With a weight, and without one."""
    words = [
        "--data",
        f"{AWAY}:2",
        AWAY,
        "--steps",
        "2",
        "--batch-size",
        "2",
        "--sequence-length",
        "128",
        "--out",
        "run",
    ]
    command = [sys.executable, "-m", "gato_model", "train", *words, "--evaluate-every", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    run = json.loads(Path("run/run.json").read_text())
    assert [data["path"] for data in run["made_by"]["data"]] == [AWAY, AWAY]
    assert [share["weight"] for share in run["data"]] == [2.0, 1.0]
