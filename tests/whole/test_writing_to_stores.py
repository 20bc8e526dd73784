"""Conversions into an object store: the bytes of a local one, however they are killed, repeated or disturbed."""

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conversions import command, convert, everything, slow_source, tree, write_documents, write_lines
from faulty_store import proxied
from killed import kill_after
from s3_server import s3_server

from gato_tokenize import Dataset
from gato_tokenize.storage.store_path import StorePath
from pipelines.__main__ import main
from pipelines.conversion import lease
from pipelines.conversion.convert import convert as run_plan
from pipelines.conversion.lease import Lease
from pipelines.conversion.plan import make_plan
from pipelines.conversion.reject_budget import RejectBudget
from pipelines.conversion.work_folder import WorkFolder
from pipelines.conversion.work_storage import ConvertError
from pipelines.conversion.write_partition import write_here
from pipelines.inspection.verify import verify
from pipelines.sources import open_source

AWAY = "s3://bucket/out/toy/1.0.0"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "tmp").mkdir()
    open_source.cache_clear()
    with s3_server(monkeypatch) as url:
        yield url
    monkeypatch.setattr("tempfile.tempdir", None)


def there(address: str = "s3://bucket/out") -> dict[str, str]:
    """Return {object: sha256} of all objects below an address."""
    folder = StorePath(address)
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in folder.files()}


def left_here() -> list[str]:
    """Return what lies in the folder for temporary files."""
    return [path.name for path in Path("tmp").rglob("*") if path.is_file()]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_bytes_are_those_of_a_local_conversion(workers: str, server: str) -> None:
    words = [*everything(), "--workers", workers]
    assert convert(*words) == 0
    assert convert(*words, out=AWAY) == 0
    assert there() == tree("out") and left_here() == []
    assert list(verify(AWAY, deep=True)) == []
    before = there()
    assert convert(*words, out=AWAY) == 0, "it is there already"
    assert there() == before


def test_a_split_that_gets_nothing_leaves_nothing(server: str) -> None:
    words = [write_documents(6, 3), "--validation-fraction", "0.001"]
    assert convert(*words) == 0
    assert convert(*words, out=AWAY) == 0
    assert there() == tree("out") and not [name for name in there() if "validation" in name]


def test_nothing_counts_as_published_before_the_manifest(server: str) -> None:
    source = write_documents()
    write_lines("docs-9.jsonl.gz", ["broken"])
    assert convert(source, "--max-rejects", "0%", out=AWAY) == 3  # a share is judged when all are done
    names = set(there())
    assert "toy/1.0.0/manifest.json" not in names and "toy/1.0.0/_run/part-00000.done.json" in names
    with pytest.raises(FileNotFoundError, match="no complete dataset: it is an unfinished conversion"):
        Dataset.open(AWAY)
    assert main(["verify", AWAY]) == 2
    assert main(["rejects", "list", AWAY]) == 0
    assert convert("text:docs-0.jsonl.gz", out=AWAY) == 2, "another plan"
    assert set(there()) == names
    done = StorePath(AWAY) / "_run/part-00000.done.json"
    stamp = done.facts
    assert convert(source, "--max-rejects", "1", out=AWAY) == 0
    assert done.facts == stamp, "what is done is not done again"
    assert convert(source, "--max-rejects", "1") == 0
    assert there() == tree("out")


def test_a_place_that_holds_other_objects_is_refused(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    (StorePath(AWAY) / "mine.txt").parent.mkdir()
    from gato_tokenize.storage.durable import durable_file

    with durable_file(StorePath(AWAY) / "mine.txt") as file:
        file.write(b"x")
    assert convert(write_documents(), out=AWAY) == 2
    assert "exists and is no dataset" in capsys.readouterr().err and set(there()) == {"toy/1.0.0/mine.txt"}
    assert convert("text:docs-*.jsonl.gz", out="https://host/toy/1.0.0") == 2
    assert "nothing is written over HTTP" in capsys.readouterr().err


def test_empty_folders_that_a_store_lists_are_nothing(server: str) -> None:
    """SeaweedFS goes on listing a folder when its last file is gone; elsewhere, a console makes such folders."""
    import boto3

    client = boto3.client("s3")
    for name in ("1.0.0", ".1.0.0.partial-0123456789abcdef"):
        client.put_object(Bucket="bucket", Key=f"out/toy/{name}/")
    client.close()
    source = write_documents()
    assert convert(source) == 0
    assert convert(source, out=AWAY) == 0
    assert there() == tree("out") and list(verify(AWAY)) == []


@pytest.mark.parametrize(
    ("kills", "workers"), [(3, "1"), pytest.param(25, "2", marks=[pytest.mark.slow, pytest.mark.timeout(3000)])]
)
def test_killed_and_resumed_it_is_the_same_to_the_byte(kills: int, workers: str, server: str) -> None:
    words = [slow_source(100), write_documents(), "--workers", workers]
    started = time.monotonic()
    subprocess.run(command(*words), check=True, capture_output=True, timeout=300)
    lasts, whole, generator = time.monotonic() - started, tree("out"), random.Random(kills)
    killed = 0
    while killed < kills:
        code = kill_after(generator.uniform(0.3, 1.0) * lasts, command(*words, out=AWAY))
        killed += code != 0
        if (StorePath(AWAY) / "manifest.json").is_file():
            assert {name: digest for name, digest in there().items() if ".partial-" not in name} == whole
            for name in StorePath("s3://bucket/out").files():
                (StorePath("s3://bucket/out") / name).unlink()
        else:
            assert code != 0
    subprocess.run(command(*words, out=AWAY), check=True, capture_output=True, timeout=300)
    assert there() == whole and list(verify(AWAY, deep=True)) == [] and left_here() == []


def stopped_at(name: str, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    """Run a conversion that is killed before it writes the object `name`."""
    original = StorePath.upload

    def upload(self: StorePath, file: object) -> None:
        if self.name == name:
            raise KeyboardInterrupt
        original(self, file)  # type: ignore[arg-type]

    plan, tokenizer = make_plan(words, AWAY, validation_fraction=0.01)
    with monkeypatch.context() as patch:
        patch.setattr(StorePath, "upload", upload)
        with contextlib.suppress(KeyboardInterrupt):
            run_plan(plan, tokenizer, StorePath(AWAY), RejectBudget(), write_here)


def test_stopped_at_every_object(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_documents(12)
    plan, tokenizer = make_plan([source], "out/toy/1.0.0", validation_fraction=0.01)
    run_plan(plan, tokenizer, Path("out/toy/1.0.0"), RejectBudget(), write_here)
    whole = tree("out")
    plan, tokenizer = make_plan([source], AWAY, validation_fraction=0.01)
    names = [*(name.rpartition("/")[2] for name in whole), "part-00001.episodes.jsonl.gz", "plan.json"]
    for name in sorted(set(names)):
        stopped_at(name, monkeypatch, [source])
        assert not (StorePath(AWAY) / "manifest.json").is_file()
        run_plan(plan, tokenizer, StorePath(AWAY), RejectBudget(), write_here)
        assert there() == whole, name
        for found in whole:
            (StorePath("s3://bucket/out") / found).unlink()
    assert left_here() == []


def test_killed_after_the_manifest(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_documents(12)
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.conversion.work_storage.StoreWork.withdraw", lambda self: None)
        assert convert(source, out=AWAY) == 0
    assert [name for name in there() if ".partial-" in name]
    assert list(verify(AWAY)) == [], "what is left lies beside the dataset"
    assert convert(source, out=AWAY) == 0
    assert not [name for name in there() if ".partial-" in name]


@pytest.mark.parametrize("fate", ["busy", "cut", "drop"])
def test_a_store_that_fails_every_tenth_time(fate: str, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [*everything(), "--workers", "2"]
    assert convert(*words) == 0
    with proxied(monkeypatch, server, lambda number, method, path: fate if number % 10 == 0 else "") as proxy:
        assert convert(*words, out=AWAY) == 0
        assert len(proxy.requests) > 100
    assert there() == tree("out")


@pytest.mark.parametrize("after", [1, 20, 60])
def test_a_store_that_goes_away(
    after: int, server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_documents()
    assert convert(source) == 0
    monkeypatch.setattr("gato_tokenize.storage.address.WAIT", 0.001)
    with proxied(monkeypatch, server, lambda number, method, path: "busy" if number > after else ""):
        assert convert(source, out=AWAY) == 1
        said = capsys.readouterr().err
        assert "s3://bucket/out/toy" in said and "give the same command again" in said
    assert not (StorePath(AWAY) / "manifest.json").is_file()
    assert convert(source, out=AWAY) == 0
    assert there() == tree("out")


def test_parts_of_uploads_that_never_ended_are_let_go(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3

    source = write_documents()
    client = boto3.client("s3")
    plan, _ = make_plan([source], AWAY)
    key = f"out/toy/1.0.0/{plan.shard('train', 0)}"
    for name in (key, "other/file"):
        client.create_multipart_upload(Bucket="bucket", Key=name)
    assert convert(source, out=AWAY) == 0
    assert [upload["Key"] for upload in client.list_multipart_uploads(Bucket="bucket")["Uploads"]] == ["other/file"]
    client.close()


def test_rejects_are_tried_again_into_a_store(server: str) -> None:
    source = write_documents()
    write_lines("docs-9.jsonl.gz", ['{"text": "fine"}', "broken"])
    for out in ("out/toy/1.0.0", AWAY):
        assert convert(source, "--max-rejects", "1", out=out) == 0
    write_lines("docs-9.jsonl.gz", ['{"text": "fine"}', '{"text": "mended"}'])
    for folder in ("out/toy", "s3://bucket/out/toy"):
        open_source.cache_clear()
        assert main(["rejects", "retry", f"{folder}/1.0.0", "--out", f"{folder}/1.0.1"]) == 0
    assert there() == tree("out") and len(Dataset.open("s3://bucket/out/toy/1.0.1")) == 62


def test_edits_into_a_store(server: str) -> None:
    assert convert(write_documents()) == 0
    for out in ("out/toy/2.0.0", "s3://bucket/out/toy/2.0.0"):
        assert main(["split", "out/toy/1.0.0", out, "--validation", "0.3"]) == 0
        assert main(["merge", f"{out[:-5]}3.0.0", out]) == 0
    found = {name: digest for name, digest in tree("out").items() if not name.startswith("toy/1.0.0/")}
    assert there() == found


# ------------------------------------------------------------------------------------------------------ the lease


def test_two_runs_at_once(server: str) -> None:
    """One of them writes; the other one is refused, or finds the dataset there."""
    words = command(slow_source(100), out=AWAY)
    both = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ended = [(process.communicate(timeout=300)[1], process.returncode) for process in both]
    assert {code for _, code in ended} <= {0, 2} and 0 in {code for _, code in ended}
    for said, code in ended:
        assert code == 0 or "another run, process" in said
    subprocess.run(command(slow_source(100)), check=True, capture_output=True)
    assert there() == tree("out")


def test_a_lease_is_held_by_one(server: str) -> None:
    folder = StorePath("s3://bucket/lease")
    one, other = Lease(folder), Lease(folder)
    one.take()
    with pytest.raises(lease.LeaseError, match=f"process {os.getpid()} on "):
        other.take()
    one.check()
    one.withdraw()
    other.take()
    other.withdraw()
    assert list(folder.iterdir()) == []


def foreign(folder: StorePath, beat: int = 1) -> StorePath:
    """Put the lease of a process on another machine there."""
    from gato_tokenize.storage.durable import durable_file

    with durable_file(folder / "foreign.json") as file:
        claim = {"host": "elsewhere", "pid": 7, "machine": "other", "start": "1", "beat": beat}
        file.write(json.dumps(claim).encode())
    return folder / "foreign.json"


def test_a_dead_lease_of_another_machine_expires(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "EXPIRES", 1.0)
    folder, waits = StorePath("s3://bucket/lease"), list[str]()
    path = foreign(folder)
    mine = Lease(folder, waits.append)
    started = time.monotonic()
    mine.take()
    assert time.monotonic() - started >= 1 and not path.exists() and len(waits) == 1
    assert "process 7 on elsewhere was writing here: waiting up to 1 s" in waits[0]
    mine.withdraw()


def test_a_live_lease_of_another_machine_is_respected(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_PATIENCE", 0.0)
    folder, beats = StorePath("s3://bucket/lease"), iter(range(1, 1000))
    foreign(folder)
    mine = Lease(folder, lambda text: None)
    original = time.sleep
    monkeypatch.setattr(lease.time, "sleep", lambda seconds: (original(seconds), foreign(folder, next(beats)))[0])
    with pytest.raises(lease.LeaseError, match="process 7 on elsewhere"):
        mine.take()
    assert [path.name for path in folder.iterdir()] == ["foreign.json"]


def test_a_killed_run_of_this_machine_holds_nobody_up(server: str) -> None:
    process = subprocess.Popen(command(slow_source(400), out=AWAY), start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not [name for name in there() if name.endswith("done.json")]:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert [name for name in there() if "/lease/" in name]
    (plan_folder,) = {name.split("/")[1] for name in there() if ".partial-" in name}
    started = time.monotonic()
    mine = Lease(StorePath(f"s3://bucket/out/toy/{plan_folder}/lease"))
    mine.take()
    assert time.monotonic() - started < 10
    mine.withdraw()


def test_a_run_that_lost_its_lease_publishes_nothing(server: str) -> None:
    source = write_documents(12)
    plan, tokenizer = make_plan([source], AWAY)

    def write_and_lose(folder: WorkFolder) -> None:
        write_here(folder)
        for path in (folder.storage.aside / "lease").iterdir():
            path.unlink()  # type: ignore[union-attr]

    with pytest.raises(ConvertError, match="has lost its lease of s3://bucket/out/toy/1.0.0"):
        run_plan(plan, tokenizer, StorePath(AWAY), RejectBudget(), write_and_lose)
    assert not (StorePath(AWAY) / "manifest.json").exists()
    run_plan(plan, tokenizer, StorePath(AWAY), RejectBudget(), write_here)
    assert list(verify(AWAY)) == []
