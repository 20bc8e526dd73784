"""Local runs whose processes die, hang or fill the memory: the culprit is left out by name, the rest is written."""

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from conversions import command, convert, elsewhere, rejects, tree

from gato_tokenize import Dataset, Episode, EpisodeTokenizer, TokenSequence
from pipelines.__main__ import main
from pipelines.conversion import write_partition as writing
from pipelines.conversion.work_folder import WorkFolder
from pipelines.sources import open_source


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_source.cache_clear()


def ids(folder: str = "out/toy/1.0.0") -> list[str]:
    return [record.metadata.episode_id for record in Dataset.open(folder).records()]


def all_but(*left_out: int, count: int = 30) -> list[str]:
    return [f"toy/{number}" for number in range(count) if number not in left_out]


def test_a_crash_costs_one_episode_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    assert convert("faulty_source:FaultySource:30?bad=13", "--max-rejects", "1") == 0
    assert ids() == all_but(13)
    assert rejects() == [
        {
            **{
                "source": "faulty_source:FaultySource:30?bad=13",
                "source_uri": "faulty",
                "source_index": 13,
                "episode_id": "toy/13",
            },
            **{"stage": "read", "exception": "ChildProcessError", "message": "the process died of SIGSEGV"},
        }
    ]
    errors = capsys.readouterr().err
    assert "now alone, one after the other: partition 1\n" in errors
    assert "left out: toy/13: the process died of SIGSEGV\n" in errors
    assert main(["verify", "out/toy/1.0.0"]) == 0


@pytest.mark.parametrize(
    ("fault", "exception", "message"),
    [
        ("kill", "ChildProcessError", "the process died of SIGKILL"),
        ("hang", "TimeoutError", "no end after 2 s"),
        ("exit", "ChildProcessError", "the process died of exit code 3"),
        ("leave", "SystemExit", "4"),
    ],
)
def test_whatever_ends_a_process_or_holds_it_up(fault: str, exception: str, message: str) -> None:
    source = f"faulty_source:FaultySource:30?bad=13,17&fault={fault}"
    assert convert(source, "--max-rejects", "2", "--stall-timeout", "2") == 0
    assert ids() == all_but(13, 17)
    assert [reject["episode_id"] for reject in rejects()] == ["toy/13", "toy/17"]
    for reject in rejects():
        assert reject["exception"] == exception and reject["message"].startswith(message)


def test_memory_is_limited_where_it_is_tried_alone() -> None:
    """In a process of its own: pytest's has more loaded than the limit allows."""
    words = command("faulty_source:FaultySource:30?bad=13&fault=eat", "--max-rejects", "1")
    for number, (limit, exception) in enumerate(((["--memory-limit", "2G"], "MemoryError"), ([], "ChildProcessError"))):
        out = f"out/toy/1.0.{number}"
        subprocess.run([*words[:-1], out, *limit], env=elsewhere(), check=True, capture_output=True, timeout=300)
        assert ids(out) == all_but(13)
        assert [reject["exception"] for reject in rejects(out)] == [exception]


def test_what_cannot_even_be_found_ends_its_partition() -> None:
    assert convert("faulty_source:FaultySource:30?bad=13&at=next", "--max-rejects", "1") == 0
    assert ids() == all_but(*range(13, 20))
    (reject,) = rejects()
    assert (reject["episode_id"], reject["source_index"]) == ("after toy/12", 13)
    assert reject["message"] == "the rest of the partition cannot be read: the process died of SIGSEGV"
    assert Dataset.open("out/toy/1.0.0").manifest["episodes"]["read"] == 24


def test_the_first_candidate_of_all() -> None:
    assert convert("faulty_source:FaultySource:30?bad=0&at=next", "--max-rejects", "1") == 0
    assert ids() == all_but(*range(10))
    assert rejects()[0]["episode_id"] == "after the start"


def test_a_crash_of_the_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    real = EpisodeTokenizer.encode_batch

    def crash(tokenizer: EpisodeTokenizer, episodes: Sequence[Episode]) -> list[TokenSequence]:
        if any(episode.metadata.source_index == 21 for episode in episodes):
            os.abort()
        return real(tokenizer, episodes)

    monkeypatch.setattr(EpisodeTokenizer, "encode_batch", crash)
    assert convert("faulty_source:FaultySource:30", "--max-rejects", "1") == 0
    assert ids() == all_but(21)
    assert [(r["stage"], r["message"]) for r in rejects()] == [("tokenize", "the process died of SIGABRT")]


@pytest.mark.parametrize("fault", ["segfault", "hang"])
def test_two_workers_make_the_same_bytes(fault: str) -> None:
    source = f"faulty_source:FaultySource:60?bad=13,44&fault={fault}"
    more = ("--max-rejects", "2", "--stall-timeout", "2")
    assert convert(source, *more, out="one/toy/1.0.0") == 0
    done = subprocess.run(command(source, *more, "--workers", "2", out="two/toy/1.0.0"), env=elsewhere(), timeout=120)
    assert done.returncode == 0
    assert tree("one") == tree("two") and len(ids("one/toy/1.0.0")) == 58


def test_the_quarantine_outlives_the_run() -> None:
    """Beyond the budget nothing is published; with a larger one the culprits are not touched again."""
    source = "faulty_source:FaultySource:30?bad=13,17"
    assert convert(source, "--max-rejects", "1") == 3
    (partial,) = Path("out/toy").glob(".1.0.0.partial-*")
    assert sorted(WorkFolder.open(partial).quarantine(1)) == [3, 7]
    Path("loaded").unlink()
    assert convert(source, "--max-rejects", "2") == 0
    loaded = Path("loaded").read_text().split()
    assert "13" not in loaded and "17" not in loaded and "18" in loaded
    assert convert(source, "--max-rejects", "2", out="whole/toy/1.0.0") == 0
    assert tree("out") == tree("whole")
    assert "_run/part-00001.quarantine.json" in json.loads(Path("out/toy/1.0.0/manifest.json").read_text())["files"]


def test_a_process_that_dies_of_nothing_in_the_data(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At the end of a partition, and before any: reported, and not tried forever."""
    with monkeypatch.context() as patch:
        patch.setattr(writing._PartitionWriter, "save", lambda *_: os._exit(9))
        assert convert("faulty_source:FaultySource:30") == 1
        assert (
            "partition 0, alone in a process, at no candidate of its own: the process died of exit code 9. What is"
            in (capsys.readouterr().err)
        )
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.running.beam_pipeline._WritePartition.setup", lambda *_: os._exit(9))
        assert convert("faulty_source:FaultySource:30") == 1
        assert "the process of the local run died of exit code 9. What is done is kept" in capsys.readouterr().err
    assert convert("faulty_source:FaultySource:30") == 0


# ------------------------------------------------------------------------------------------------ stopped early


@pytest.mark.parametrize(
    ("more", "budget", "sure"),
    [
        ("", "2", True),
        ("", "1%", True),  # 200 at most: two may fail
        ("&knows=0", "2", True),
        ("&knows=0", "1%", False),  # for all that is known, thousands may follow
        ("&limit", "1%", True),
    ],
)
def test_a_budget_that_is_surely_exceeded_stops_the_run(
    more: str, budget: str, sure: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first three of 200 fail, in the first of two partitions; all would take 10 s."""
    limit = ["--limit", "200"] if more == "&limit" else []
    count = 400 if limit else 200
    source = f"faulty_source:FaultySource:{count}?each=100&fault=raise&bad=0,1,2&pause=0.05{more.replace('&limit', '')}"
    assert convert(source, "--max-rejects", budget, *limit) == 3
    errors, loaded = capsys.readouterr().err, len(Path("loaded").read_text().split())
    assert (loaded < 100) == sure and loaded >= 3
    assert ("stopped early: 3 episodes" in errors) == sure and ("of 200 at most" in errors) == (sure and "%" in budget)
    (partial,) = Path("out/toy").glob(".1.0.0.partial-*")
    assert bool(list(partial.rglob("*.done.json"))) != sure
    Path("hurry").touch()
    if sure:
        assert f"`gato-data rejects list {partial}` shows them" in errors and "(3 read: KeyError)" in errors
    assert convert(source, "--max-rejects", "3", *limit) == 0
    assert convert(source, "--max-rejects", "1.5%", *limit, out="whole/toy/1.0.0") == 0
    assert tree("out") == tree("whole")


def test_options_that_make_no_sense_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for option, value, message in (
        ("--stall-timeout", "0", "a number of seconds from 1, not 0"),
        ("--stall-timeout", "inf", "a number of seconds from 1, not inf"),
        ("--memory-limit", "lots", "a size is written like 2G or 1500M, not 'lots'"),
        ("--memory-limit", "100M", "must be at least 1G, not 104857600 bytes"),
    ):
        assert convert("faulty_source:FaultySource:30", option, value) == 2
        assert message in capsys.readouterr().err
    assert not Path("out").exists()
