"""Rejects: listed by reason, and tried again after a fix, into a version that holds everything of the old one."""

import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conversions import HERE, convert, elsewhere, png, rejects, slow_source, tree, write_lines, write_pictures

from gato_tokenize import Dataset
from pipelines.__main__ import main
from pipelines.sources import open_source


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_source.cache_clear()


def retry(*words: str, old: str = "out/toy/1.0.0", out: str = "out/toy/1.0.1") -> int:
    open_source.cache_clear()
    return main(["rejects", "retry", old, "--out", out, *words])


def ids(folder: str) -> list[str]:
    return sorted(record.metadata.episode_id for record in every_record(folder))


def every_record(folder: str) -> list[Any]:
    dataset = Dataset.open(folder)
    return [record for split in dataset.splits for record in dataset.records(split)]


def sound(folder: str) -> bool:
    return main(["verify", folder, "--deep"]) == 0


# ---------------------------------------------------------------------------------------------------------- list


def test_a_list_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    write_pictures(3)
    Path("1.png").write_bytes(b"no picture")
    write_lines("docs.jsonl.gz", ['{"text": "one"}', "broken", '{"text": 5}'])
    assert convert("text:docs.jsonl.gz", "image-text:pairs.jsonl", "--max-rejects", "3") == 0
    capsys.readouterr()
    assert main(["rejects", "list", "out/toy/1.0.0"]) == 0
    head, reason, *lines = capsys.readouterr().out.splitlines()
    assert (head, reason) == ("out/toy/1.0.0: 3 rejected", "2 read: ValueError")
    assert lines[0].startswith("  docs.jsonl.gz#2 (docs.jsonl.gz, number 2): docs.jsonl.gz, line 2")
    assert lines[1].startswith("  docs.jsonl.gz#3 (docs.jsonl.gz, number 3): ")
    assert lines[2].startswith("1 tokenize: ") and lines[3].startswith("  pairs.jsonl#2 (pairs.jsonl, number 2): ")
    assert main(["rejects", "list", "out/toy/1.0.0", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["complete"] and [entry.pop("partition") for entry in listed["rejects"]] == [0, 0, 1]
    assert listed["rejects"] == rejects()


def test_an_unfinished_conversion_is_listed_too(capsys: pytest.CaptureFixture[str]) -> None:
    """What is done, what is quarantined, and what a partition reported before it was stopped."""
    assert convert("faulty_source:FaultySource:30?bad=3,13", "--max-rejects", "1") == 3
    capsys.readouterr()
    assert main(["rejects", "list", "out/toy/1.0.0"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert "2 rejected so far, of an unfinished conversion" in head and ".1.0.0.partial-" in head
    assert [line.split()[0] for line in lines] == ["2", "toy/3", "toy/13"]
    assert convert("faulty_source:FaultySource:200?each=100&fault=raise&bad=0,1&pause=0.05", out="out/two/1.0.0") == 3
    capsys.readouterr()
    (partial,) = Path("out/two").iterdir()
    assert not list(partial.glob("rejects/*"))
    assert main(["rejects", "list", str(partial), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    ids = [entry["episode_id"] for entry in listed["rejects"]]
    assert ids in (["toy/0"], ["toy/0", "toy/1"]) and not listed["complete"]  # it is stopped once it sees the first


def test_nothing_to_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rejects", "list", "out/toy/1.0.0"]) == 2
    assert "out/toy/1.0.0 is no dataset" in capsys.readouterr().err
    assert convert("faulty_source:FaultySource:10") == 0
    capsys.readouterr()
    assert main(["rejects", "list", "out/toy/1.0.0"]) == 0
    assert capsys.readouterr().out == "out/toy/1.0.0: 0 rejected\n"
    for name in ("a", "b"):
        Path(f"out/toy/.2.0.0.partial-{name}").mkdir()
    assert main(["rejects", "list", "out/toy/2.0.0"]) == 2
    assert "several unfinished conversions" in capsys.readouterr().err


# --------------------------------------------------------------------------------------------------------- retry


def test_a_retry_reads_the_rejected_alone_and_carries_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    source = "faulty_source:FaultySource:30?bad=3,13,14&fault=raise"
    assert convert(source, "--max-rejects", "3", "--validation-fraction", "0.3") == 0
    old = tree("out/toy/1.0.0")
    Path("loaded").unlink()
    Path("mended").touch()
    assert retry() == 0
    assert Path("loaded").read_text().split() == ["3", "13", "14"]
    assert tree("out/toy/1.0.0") == old and sound("out/toy/1.0.1")
    assert ids("out/toy/1.0.1") == sorted(f"toy/{number}" for number in range(30))
    dataset = Dataset.open("out/toy/1.0.1")
    assert dataset.manifest["episodes"] == {
        **{"read": 30, "written": 30, "rejected": {}, "filtered": {}, "duplicates": 0},
    }
    stats = json.loads((dataset.path / "stats.json").read_text())
    assert sum(split["toy"]["episodes"] for split in stats.values()) == 30
    for split in dataset.splits:
        names = [path.name for path in dataset.shards(split)]
        assert names == [f"toy-{split}.tfrecord-{n:05d}-of-00005" for n in range(5)]
        for before, after in zip(Dataset.open("out/toy/1.0.0").shards(split), dataset.shards(split), strict=False):
            assert before.samefile(after)
    assert convert(source, "--validation-fraction", "0.3", out="whole/toy/1.0.0") == 0
    assert {(r.metadata.episode_id, r.to_bytes()) for r in every_record("whole/toy/1.0.0")} == {
        (r.metadata.episode_id, r.to_bytes()) for r in every_record("out/toy/1.0.1")
    }
    for split in dataset.splits:
        assert {r.metadata.episode_id for r in dataset.records(split)} == {
            r.metadata.episode_id for r in Dataset.open("whole/toy/1.0.0").records(split)
        }


def test_the_list_of_episodes_names_the_new_shards() -> None:
    assert (
        convert("faulty_source:FaultySource:30?bad=3&fault=raise", "--max-rejects", "1", "--validation-fraction", "0.3")
        == 0
    )
    Path("mended").touch()
    assert retry() == 0
    from gato_tokenize import read_record

    with gzip.open("out/toy/1.0.1/episodes.jsonl.gz", "rt", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    assert len(lines) == 30
    for line in lines:
        record = read_record(Path("out/toy/1.0.1") / line["shard"], line["record"])
        assert record.metadata.episode_id == line["episode_id"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # tensorflow_datasets itself
def test_tfds_reads_it() -> None:
    tfds = pytest.importorskip("tensorflow_datasets")
    assert convert("faulty_source:FaultySource:30?bad=3&fault=raise", "--max-rejects", "1") == 0
    Path("mended").touch()
    assert retry() == 0
    loaded = tfds.load("toy:1.0.1", data_dir="out", split="train", shuffle_files=False)
    found = [example["episode_metadata"]["episode_id"].numpy().decode() for example in loaded]
    assert sorted(found) == ids("out/toy/1.0.1")


def test_what_fails_again_is_rejected_again_and_can_be_tried_again() -> None:
    write_lines("a.jsonl.gz", ['{"text": "one"}', "broken", "broken, too", '{"text": "four"}'])
    write_lines("b.jsonl.gz", ["broken", '{"text": "six"}'])
    assert convert("text:?.jsonl.gz", "--max-rejects", "3") == 0
    write_lines("a.jsonl.gz", ['{"text": "one"}', '{"text": "two"}', "broken, too", '{"text": "four"}'])
    assert retry("--max-rejects", "1") == 3
    assert not Path("out/toy/1.0.1").exists()
    assert retry() == 0
    assert ids("out/toy/1.0.1") == ["a.jsonl.gz#1", "a.jsonl.gz#2", "a.jsonl.gz#4", "b.jsonl.gz#2"]
    assert [reject["episode_id"] for reject in rejects("out/toy/1.0.1")] == ["a.jsonl.gz#3", "b.jsonl.gz#1"]
    assert Dataset.open("out/toy/1.0.1").manifest["episodes"]["read"] == 6
    write_lines("a.jsonl.gz", ['{"text": "one"}', '{"text": "two"}', '{"text": "three"}', '{"text": "four"}'])
    write_lines("b.jsonl.gz", ['{"text": "five"}', '{"text": "six"}'])
    assert retry(old="out/toy/1.0.1", out="out/toy/1.0.2") == 0
    texts = {e.metadata.episode_id: e.fields["observation/text"][0] for e in Dataset.open("out/toy/1.0.2").episodes()}
    assert [texts[name] for name in sorted(texts)] == ["one", "two", "three", "four", "five", "six"]
    assert sound("out/toy/1.0.2") and not rejects("out/toy/1.0.2")
    inputs = [given["uri"] for given in Dataset.open("out/toy/1.0.2").manifest["inputs"]]
    assert "toy/1.0.0/manifest.json" in inputs and "toy/1.0.1/manifest.json" in inputs
    assert inputs.count("a.jsonl.gz") == 3, "as it was each time"


def test_a_picture_is_mended() -> None:
    source = write_pictures(4)
    Path("2.png").write_bytes(png(2)[:50])
    assert convert(source, "--max-rejects", "1") == 0
    Path("2.png").write_bytes(png(2))
    assert retry() == 0
    assert sound("out/toy/1.0.1") and len(ids("out/toy/1.0.1")) == 4


def test_an_archive_that_was_cut_short_is_whole_now() -> None:
    """The rest of a partition was lost: all that follows is read, and nothing before it; once."""
    lines = [json.dumps({"text": f"document number {number} " * 50}) for number in range(400)]
    write_lines("docs.jsonl.gz", [*lines[:395], "broken", *lines[396:]])
    whole = Path("docs.jsonl.gz").read_bytes()
    Path("docs.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    assert convert("text:docs.jsonl.gz", "--max-rejects", "1") == 0
    before = len(ids("out/toy/1.0.0"))
    assert 10 < before < 390
    Path("docs.jsonl.gz").write_bytes(whole)
    assert retry() == 0
    assert ids("out/toy/1.0.1") == sorted(f"docs.jsonl.gz#{number}" for number in range(1, 401) if number != 396)
    write_lines("docs.jsonl.gz", lines)
    assert retry(old="out/toy/1.0.1", out="out/toy/1.0.2") == 0
    assert ids("out/toy/1.0.2") == sorted(f"docs.jsonl.gz#{number}" for number in range(1, 401))
    assert sound("out/toy/1.0.1") and sound("out/toy/1.0.2")


@pytest.mark.parametrize("again", ["next", "read"])
def test_the_quarantined_are_tried_again(again: str) -> None:
    assert convert(f"faulty_source:FaultySource:30?bad=13&at={again}", "--max-rejects", "1") == 0
    assert retry() == 0, "it dies again, and costs no more than before"
    assert ids("out/toy/1.0.1") == ids("out/toy/1.0.0") and len(rejects("out/toy/1.0.1")) == 1
    Path("mended").touch()
    assert retry(old="out/toy/1.0.1", out="out/toy/1.0.2") == 0
    assert ids("out/toy/1.0.2") == sorted(f"toy/{number}" for number in range(30))
    assert sound("out/toy/1.0.1") and sound("out/toy/1.0.2")


def test_two_workers_another_disk_and_a_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "faulty_source:FaultySource:60?bad=3,13,44&fault=raise"
    assert convert(source, "--max-rejects", "3", "--validation-fraction", "0.2") == 0
    Path("mended").touch()
    assert retry() == 0
    words = [sys.executable, "-m", "pipelines", "rejects", "retry", "out/toy/1.0.0", "--workers", "2"]
    subprocess.run([*words, "--out", "two/toy/1.0.1"], env=elsewhere(), check=True, capture_output=True, timeout=120)
    assert tree("two/toy/1.0.1") == tree("out/toy/1.0.1")

    def cross(before: Any, after: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", cross)
    assert retry(out="copied/toy/1.0.1") == 0
    assert tree("copied/toy/1.0.1") == tree("out/toy/1.0.1")
    times = {path: path.stat().st_mtime_ns for path in Path("out/toy/1.0.1").rglob("*")}
    assert retry() == 0, "what is there already is not done again"
    assert times == {path: path.stat().st_mtime_ns for path in Path("out/toy/1.0.1").rglob("*")}


KILLED = """
import os, signal, sys
from pipelines.__main__ import main

left, here = int(sys.argv[1]), os.getpid()
for name in ("link", "replace"):
    def counted(*arguments, call=getattr(os, name)):
        global left
        left -= os.getpid() == here
        if left == 0:
            os.kill(here, signal.SIGKILL)
        return call(*arguments)
    setattr(os, name, counted)
sys.exit(main(sys.argv[2:]))
"""


def test_killed_while_it_carries_over_it_goes_on() -> None:
    assert (
        convert(
            "faulty_source:FaultySource:30?bad=3,13&fault=raise", "--max-rejects", "2", "--validation-fraction", "0.3"
        )
        == 0
    )
    Path("mended").touch()
    assert retry(out="whole/toy/1.0.1") == 0
    words = ["rejects", "retry", "out/toy/1.0.0", "--out", "out/toy/1.0.1"]
    for steps in (1, 8, 15, 6, 12):  # three for the plan, then six a partition
        script = [sys.executable, "-c", KILLED, str(steps), *words]
        done = subprocess.run(script, env=elsewhere(), capture_output=True, timeout=60)
        assert done.returncode == -signal.SIGKILL and not Path("out/toy/1.0.1").exists()
    assert retry() == 0
    assert tree("out/toy/1.0.1") == tree("whole/toy/1.0.1")


# ------------------------------------------------------------------------------------------------------- refused


def spoilt() -> str:
    assert convert("faulty_source:FaultySource:30?bad=3&fault=raise", "--max-rejects", "1") == 0
    return "out/toy/1.0.0"


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("out/other/1.0.1", "a retry makes another version of toy"),
        ("out/toy/1.0.0", "a retry makes another version of toy"),
        ("out/toy/next", "a version is MAJOR.MINOR.PATCH"),
    ],
)
def test_an_output_that_is_no_other_version(out: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    spoilt()
    assert retry(out=out) == 2
    assert message in capsys.readouterr().err


def test_nothing_rejected_or_no_dataset(capsys: pytest.CaptureFixture[str]) -> None:
    assert retry() == 2
    assert "no complete dataset" in capsys.readouterr().err
    assert convert("faulty_source:FaultySource:10") == 0
    assert retry() == 2
    assert "has no rejects" in capsys.readouterr().err


def test_another_spec(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import faulty_source

    from gato_tokenize import EpisodeSpec

    spoilt()
    monkeypatch.setattr(faulty_source.FaultySource, "specs", lambda self: {"toy": EpisodeSpec.caption()})
    assert retry() == 2
    assert "the spec of task 'toy' is not the one that out/toy/1.0.0 was made with" in capsys.readouterr().err


def test_inputs_that_are_cut_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    write_lines("a.jsonl.gz", ["broken", '{"text": "x"}'])
    assert convert("text:*.jsonl.gz", "--max-rejects", "1") == 0
    write_lines("b.jsonl.gz", ['{"text": "y"}'])
    assert retry() == 2
    assert "has other inputs now, cut into 2 partitions, not 1" in capsys.readouterr().err


def test_an_episode_that_is_not_at_its_place_any_more() -> None:
    write_lines("a.jsonl.gz", ['{"text": "x"}', "broken"])
    assert convert("text:a.jsonl.gz", "--max-rejects", "1") == 0
    write_lines("a.jsonl.gz", ['{"text": "x"}'])
    assert retry() == 0
    (reject,) = rejects("out/toy/1.0.1")
    assert reject["exception"] == "LookupError" and "it is not there any more" in reject["message"]
    assert reject["episode_id"] == "a.jsonl.gz#2"


def test_a_damaged_dataset_is_not_carried_over(capsys: pytest.CaptureFixture[str]) -> None:
    folder = spoilt()
    shard = next(Path(folder).glob("toy-train*-00002-of-*"))
    shard.write_bytes(shard.read_bytes()[:-1])
    assert retry() == 2
    assert f"{shard} is damaged: see gato-data verify" in capsys.readouterr().err


def test_a_mended_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rollouts: seed 1 raises, until the environment is another."""
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    source = "rollouts:faulty_environments:Faulty/Count-v0?policy=random&episodes=3&time_limit=20&fault=raise"
    assert convert(source, slow_source(2), "--max-rejects", "1") == 0
    text = (HERE / "faulty_environments.py").read_text()
    Path("faulty_environments.py").write_text(text.replace('"raise": _fail,', '"raise": lambda: None,'))
    words = [sys.executable, "-m", "pipelines", "rejects", "retry", "out/toy/1.0.0", "--out", "out/toy/1.0.1"]
    subprocess.run(words, env=elsewhere(), check=True, capture_output=True, timeout=120)  # finds the mended one first
    assert len(ids("out/toy/1.0.1")) == 5 and sound("out/toy/1.0.1")
