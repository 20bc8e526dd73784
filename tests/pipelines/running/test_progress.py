"""How far a conversion is: journals that grow, done-files, quarantines, and what is surely to come at most."""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import pytest

from pipelines.conversion.journal import Journal, JournalReader, Place
from pipelines.conversion.plan import Plan
from pipelines.conversion.reject_budget import RejectBudget, RejectBudgetError
from pipelines.conversion.selection import Quarantined
from pipelines.conversion.work_folder import add_to_quarantine, done_path, journal_path, read_quarantine
from pipelines.running.progress import Tally
from pipelines.sources.source import Reject

REJECT = Reject("toy:x", "x", 3, "toy/3", "read", "KeyError", "grüße\u2028\n")
OTHER = dataclasses.replace(REJECT, source_index=4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "_run").mkdir()
    return tmp_path


def plan(*partitions: dict[str, Any]) -> Plan:
    works = [{"source": "toy:x", "partition": {}, **partition} for partition in partitions]
    return Plan("toy", "1.0.0", tuple(works), (), "0")


def done(folder: Path, index: int, read: int, **rejected: int) -> None:
    content = {"read": read, "written": read - sum(rejected.values()), "rejected": rejected}
    done_path(folder, index).write_text(json.dumps(content))


def step(ordinal: int, stage: str = "read") -> Place:
    return Place(ordinal, stage, f"toy/{ordinal}", "x", ordinal)


def test_a_journal_is_followed_while_it_grows(folder: Path) -> None:
    with Journal(journal_path(folder, 7)) as journal:
        reader = JournalReader(journal_path(folder, 7))
        assert reader.refresh() and not reader.refresh()
        time.sleep(0.02)  # a file system's clock is coarse
        journal(step(5))
        assert reader.refresh() and journal_path(folder, 7).stat().st_size == 0
        time.sleep(0.02)
        journal(step(6))  # within the same second
        assert not reader.refresh()
        journal(REJECT)
        assert reader.refresh() and not reader.refresh() and reader.rejects == [REJECT]
        with open(journal_path(folder, 7), "ab") as file:
            file.write(b'{"source": "to')  # the beginning of a line: its writer was killed
        reader.refresh()
        assert reader.rejects == [REJECT]
    with pytest.raises(FileNotFoundError):
        reader.refresh()


def test_what_is_done_and_what_is_in_flight(folder: Path) -> None:
    tally = Tally(plan({}, {}, {}), folder)
    tally.refresh()
    assert (tally.written, tally.reasons, tally.in_flight, tally.complete) == (0, {}, [], False)
    done(folder, 0, 10, oops=2)
    with Journal(journal_path(folder, 1)) as first, Journal(journal_path(folder, 2)) as second:
        first(REJECT)
        tally.refresh()
        assert (tally.written, tally.in_flight) == (8, [1, 2])
        assert tally.reasons == {"oops": 2, "read: KeyError": 1}
        done(folder, 1, 5, **{"read: KeyError": 1})
        tally.refresh()
        assert tally.reasons == {"oops": 2, "read: KeyError": 1}, "counted once"
        second(OTHER)
    done(folder, 2, 1, **{"read: KeyError": 1})
    tally.refresh()
    assert tally.complete and tally.in_flight == [] and tally.reasons == {"oops": 2, "read: KeyError": 2}


def test_what_is_quarantined_counts_before_its_partition_is_done(folder: Path) -> None:
    tally = Tally(plan({}, {}), folder)
    add_to_quarantine(folder, 1, Quarantined(4, False, OTHER))
    add_to_quarantine(folder, 1, Quarantined(3, False, REJECT))
    assert list(read_quarantine(folder, 1)) == [3, 4] and read_quarantine(folder, 0) == {}
    with Journal(journal_path(folder, 1)) as journal:
        journal(REJECT)
        journal(dataclasses.replace(REJECT, source_index=5))
        tally.refresh()
        assert tally.reasons == {"read: KeyError": 3}


def test_signs_of_life(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    tally = Tally(plan({}, {}), folder)
    tally.refresh()
    clock[0] += 100
    assert tally.silent_for() == -20, "processes may take 120 s to start"
    with Journal(journal_path(folder, 0)) as one, Journal(journal_path(folder, 1)) as two:
        tally.refresh()
        assert tally.silent_for() == 0
        clock[0] += 30
        time.sleep(0.02)
        one(step(0))
        tally.refresh()
        assert tally.silent_for() == 30, "the other one has not moved"
        time.sleep(0.02)
        two(step(0))
        tally.refresh()
        assert tally.silent_for() == 0
        tally.forget_journals()
        assert tally.in_flight == [] and not journal_path(folder, 0).exists()


def test_how_many_there_can_be_at_most(folder: Path) -> None:
    known, unknown = {"partition": {"count": 10}}, {"partition": {"bytes": 3}}
    only = {"partition": {"count": 10}, "retry": {"number": 0, "only": [["x", 1, "a"]], "from": None}}
    rest = {"partition": {"count": 10}, "retry": {"number": 0, "only": [], "from": 3}}
    assert Tally(plan(known, known), folder).most == 20
    assert Tally(plan(known, only), folder).most == 11
    assert Tally(plan(known, rest), folder).most is None
    tally = Tally(plan(unknown, known), folder)
    assert tally.most is None
    done(folder, 0, 7)
    tally.refresh()
    assert tally.most == 17


@pytest.mark.parametrize(
    ("text", "rejected", "most", "sure"),
    [
        ("0", 0, None, False),
        ("0", 1, None, True),
        ("2", 2, None, False),
        ("2", 3, None, True),
        ("10%", 3, 20, True),
        ("10%", 2, 20, False),
        ("10%", 20, None, False),
        ("0%", 1, 20, True),
    ],
)
def test_a_budget_is_exceeded_for_sure(text: str, rejected: int, most: int | None, sure: bool) -> None:
    budget = RejectBudget(text)
    if not sure:
        budget.check_early({"why": rejected}, most, Path("out"))
        return
    with pytest.raises(RejectBudgetError, match=f"stopped early: {rejected} episodes.*{rejected} why"):
        budget.check_early({"why": rejected}, most, Path("out"))
