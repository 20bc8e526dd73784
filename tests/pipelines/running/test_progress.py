"""How far a conversion is: journals that grow, done-files, quarantines, and what is surely to come at most."""

import dataclasses
import re
import time
from pathlib import Path

import pytest

from gato_tokenize.storage.durable import TEMPORARY
from pipelines.conversion.journal import Journal, JournalReader
from pipelines.conversion.plan import Plan
from pipelines.conversion.reject_budget import RejectBudget, RejectBudgetError
from pipelines.conversion.work import Done, Retry, Work
from pipelines.conversion.work_folder import WorkFolder
from pipelines.running.progress import Progress, showing
from pipelines.sources.reading import Reject, Step

REJECT = Reject("toy:x", "x", 3, "toy/3", "read", "KeyError", "grüße\u2028\n")
OTHER = dataclasses.replace(REJECT, source_index=4)
PLAIN = Work("toy:x", {})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "_run").mkdir()
    return tmp_path


def folder_of(path: Path, *works: Work) -> WorkFolder:
    return WorkFolder(path, Plan("toy", "1.0.0", works, (), "0"))


def finish(folder: WorkFolder, index: int, read: int, **rejected: int) -> None:
    written = read - sum(rejected.values())
    folder.write_done(index, Done(folder.plan.sha256, index, read, written, rejected, {}, None, {}, {}))


def step(ordinal: int, stage: str = "read") -> Step:
    return Step(ordinal, stage, f"toy/{ordinal}", "x", ordinal)


def test_a_journal_is_followed_while_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    with Journal(path) as journal:
        reader = JournalReader(path)
        assert reader.refresh() and not reader.refresh()
        time.sleep(0.02)  # a file system's clock is coarse
        journal(step(5))
        assert reader.refresh() and reader.read == 5
        time.sleep(0.02)
        journal(step(6))  # within the same second
        assert not reader.refresh() and reader.read == 5
        journal(REJECT)
        assert reader.refresh() and not reader.refresh() and reader.rejects == [REJECT]
        with open(path, "ab") as file:
            file.write(b'{"source": "to')  # the beginning of a line: its writer was killed
        reader.refresh()
        assert reader.rejects == [REJECT]
        journal(OTHER)  # stands on a line of its own
        with open(path, "ab") as file:
            file.write(b'\n{"read": 2}\n')  # a document that waited
        reader.refresh()
        assert reader.rejects == [REJECT, OTHER] and reader.read == 5
    with pytest.raises(FileNotFoundError):
        reader.refresh()


def test_what_is_done_and_what_is_in_flight(path: Path) -> None:
    folder = folder_of(path, PLAIN, PLAIN, PLAIN)
    progress = Progress(folder)
    progress.refresh()
    assert (progress.read, progress.reasons, progress.in_flight, progress.complete) == (0, {}, [], False)
    finish(folder, 0, 10, oops=2)
    with Journal(folder.journal_path(1)) as first, Journal(folder.journal_path(2)) as second:
        first(REJECT)
        second(step(3))
        progress.refresh()
        assert (progress.read, progress.in_flight) == (13, [1, 2])
        assert progress.reasons == {"oops": 2, "read: KeyError": 1}
        finish(folder, 1, 5, **{"read: KeyError": 1})
        progress.refresh()
        assert progress.reasons == {"oops": 2, "read: KeyError": 1}, "counted once"
        second(OTHER)
    finish(folder, 2, 1, **{"read: KeyError": 1})
    progress.refresh()
    assert progress.complete and progress.in_flight == [] and progress.reasons == {"oops": 2, "read: KeyError": 2}


def test_a_look_takes_no_time_for_each_partition(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(path, *[PLAIN] * 500)
    progress, asked = Progress(folder), list[int]()
    for name in ("done_path", "quarantine_path", "journal_path"):
        path_of = getattr(folder, name)
        monkeypatch.setattr(folder, name, lambda index, path_of=path_of: asked.append(index) or path_of(index))
    finish(folder, 7, 10)
    asked.clear()
    with Journal(path / "_run/part-00400.journal"):
        for _ in range(3):
            progress.refresh()
    assert (progress.read, progress.in_flight, set(asked)) == (10, [400], {7, 400}) and len(asked) < 5


def test_what_is_quarantined_counts_before_its_partition_is_done(path: Path) -> None:
    folder = folder_of(path, PLAIN, PLAIN)
    progress = Progress(folder)
    folder.add_to_quarantine(1, 4, OTHER)
    folder.add_to_quarantine(1, 3, dataclasses.replace(REJECT, lost_from=3))
    assert list(folder.quarantine(1)) == [3, 4] and folder.quarantine(0) == {}
    assert [reject.ends_partition for reject in folder.quarantine(1).values()] == [True, False]
    with Journal(folder.journal_path(1)) as journal:
        journal(REJECT)
        journal(dataclasses.replace(REJECT, source_index=5))
        progress.refresh()
        assert progress.reasons == {"read: KeyError": 3}


def test_signs_of_life(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    folder = folder_of(path, PLAIN, PLAIN)
    progress = Progress(folder)
    progress.refresh()
    clock[0] += 100
    assert progress.silent_for() == -20, "processes may take 120 s to start"
    with Journal(folder.journal_path(0)) as one, Journal(folder.journal_path(1)) as two:
        progress.refresh()
        assert progress.silent_for() == 0
        clock[0] += 30
        time.sleep(0.02)
        one(step(0))
        progress.refresh()
        assert progress.silent_for() == 30, "the other one has not moved"
        time.sleep(0.02)
        two(step(0))
        progress.refresh()
        assert progress.silent_for() == 0
        progress.forget_journals()
        assert progress.in_flight == [] and not folder.journal_path(0).exists()


def test_how_many_there_can_be_at_most(path: Path) -> None:
    known, unknown = Work("toy:x", {"count": 10}), Work("toy:x", {"bytes": 3})
    only = dataclasses.replace(known, retry=Retry(0, (("x", 1, "a"),), None))
    rest = dataclasses.replace(known, retry=Retry(0, (), 3))
    assert Progress(folder_of(path, known, known)).most == 20
    assert Progress(folder_of(path, known, only)).most == 11
    assert Progress(folder_of(path, known, rest)).most is None
    assert Progress(folder_of(path, known, dataclasses.replace(known, limit=3))).most == 13
    assert Progress(folder_of(path, known, dataclasses.replace(unknown, limit=3))).most == 13
    folder = folder_of(path, unknown, known)
    progress = Progress(folder)
    assert progress.most is None
    finish(folder, 0, 7)
    progress.refresh()
    assert progress.most == 17


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
    with pytest.raises(RejectBudgetError, match=f"stopped early: {rejected} episode.*{rejected} why"):
        budget.check_early({"why": rejected}, most, Path("out"))


def test_episodes_are_counted_while_a_partition_is_written(path: Path, capsys: pytest.CaptureFixture[str],
                                                           monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """Off a terminal: the time, episodes, their rate, shards, and the time left where the end is known."""
    monkeypatch.setattr("pipelines.running.progress._LINE_SECONDS", 0.0)
    folder = folder_of(path, dataclasses.replace(PLAIN, limit=10), dataclasses.replace(PLAIN, limit=10))
    finish(folder, 0, 10)
    (path / f".toy.tfrecord{TEMPORARY}1").write_bytes(bytes(5 * 2**19))
    with showing(Progress(folder)) as show, Journal(folder.journal_path(1)) as journal:
        time.sleep(0.02)
        journal(step(4))
        show()
        finish(folder, 1, 10)
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        r"[\d:]{8} 14 episodes read, [\d.]+/s, 2\.5 MiB written, 1 of 2 shards, about [\d:]+ left", lines[0]
    ), lines
    assert re.fullmatch(r"[\d:]{8} 20 episodes read, [\d.]+/s, 2\.5 MiB written, 2 of 2 shards", lines[-1]), lines
