"""The work folder: plans, works and done-files to and from JSON, rejects, the lock."""

import dataclasses
import json
from pathlib import Path

import pytest

from pipelines.conversion.journal import Journal
from pipelines.conversion.plan import Plan
from pipelines.conversion.work import Done, RestLost, Retry, Work
from pipelines.conversion.work_folder import ConvertError, WorkFolder, count_done, find, unfinished
from pipelines.sources.reading import Reject

REJECT = Reject("toy:x", "x", 3, "toy/3", "read", "KeyError", "grüße\u2028\n")
RETRY = Retry(2, (("x", 3, "toy/3"),), 7)


def folder_in(path: Path, *works: Work) -> WorkFolder:
    plan = Plan("toy", "1.0.0", works or (Work("toy:x", {}), Work("toy:x", {"first": 1})), (), "0")
    folder = WorkFolder.of(plan, path / "toy" / "1.0.0")
    (folder.path / "_run").mkdir(parents=True)
    (folder.path / "_run/plan.json").write_text(plan.to_json())
    return folder


def done(folder: WorkFolder, index: int, lost: RestLost | None = None) -> Done:
    return Done(folder.plan.sha256, index, 2, 1, {REJECT.reason: 1}, {}, lost, {}, {})


@pytest.mark.parametrize(
    ("work", "data"),
    [
        (Work("a", {"b": 1}), {"source": "a", "partition": {"b": 1}}),
        (Work("a", {}, limit=3), {"source": "a", "partition": {}, "limit": 3}),
        (
            Work("a", {}, RETRY, carried=True),
            {
                **{"source": "a", "partition": {}, "carried": True},
                "retry": {"number": 2, "only": [["x", 3, "toy/3"]], "from": 7},
            },
        ),
    ],
)
def test_a_work_and_its_json(work: Work, data: dict[str, object]) -> None:
    assert work.to_json() == data and Work.from_json(json.loads(json.dumps(data))) == work
    plan = Plan("toy", "1.0.0", (work,), (), "0")
    assert Plan.from_json(plan.to_json()) == plan and json.loads(plan.to_json())["partitions"] == [data]


def test_works_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="a count of candidates from 1, not 0"):
        Work("a", {}, limit=0)
    with pytest.raises(TypeError, match="'limits'"):
        Work.from_json({"source": "a", "partition": {}, "limits": 3})
    with pytest.raises(TypeError, match="'partition'"):
        Work.from_json({"source": "a"})


def test_a_plan_that_is_opened_is_not_encoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker of a cluster opens it for each of its partitions."""
    folder = folder_in(tmp_path)
    monkeypatch.setattr(Plan, "to_json", None)
    opened = WorkFolder.open(folder.path)
    assert opened.plan == folder.plan and opened.plan.sha256 == folder.plan.sha256


def test_a_done_file_holds_what_it_always_held(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    folder.write_done(1, done(folder, 1, RestLost(5, 0)))
    text = folder.done_path(1).read_text()
    data = json.loads(text)
    assert data["rest_lost"] == {"from": 5, "letter": 0} and data["plan_sha256"] == folder.plan.sha256
    assert text == json.dumps(data, indent=1, sort_keys=True) + "\n" and len(data) == 9
    assert folder.done(1) == folder.recorded(1) == done(folder, 1, RestLost(5, 0)) and folder.done(0) is None


def test_a_done_file_counts_only_with_its_shards_and_its_plan(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    shard = folder.shard_path("train", 0)
    folder.write_done(0, dataclasses.replace(done(folder, 0), shards={"train": {"file": shard.name, "bytes": 4}}))
    assert folder.done(0) is None
    shard.write_bytes(b"1234")
    assert folder.done(0) is None, "its index is missing"
    (folder.path / "index").mkdir()
    (folder.path / "index" / f"{shard.name}.idx").touch()
    assert folder.done(0) is not None
    shard.write_bytes(b"12345")
    assert folder.done(0) is None and folder.recorded(0) is not None
    folder.write_done(0, dataclasses.replace(done(folder, 0), plan_sha256="another"))
    with pytest.raises(ValueError, match=r"part-00000\.done\.json belongs to another plan"):
        folder.done(0)


def test_rejects_of_every_partition(tmp_path: Path) -> None:
    folder = folder_in(tmp_path, *[Work("toy:x", {"first": number}) for number in range(4)])
    other, lost = (dataclasses.replace(REJECT, source_index=number) for number in (4, 5))
    folder.write_rejects(0, [REJECT, lost])
    folder.write_done(0, done(folder, 0, RestLost(9, 1)))
    folder.write_rejects(2, [])
    folder.add_to_quarantine(3, 8, REJECT)
    with Journal(folder.journal_path(3)) as journal:
        journal(other)
        journal(REJECT)
        assert folder.all_rejects() == [(0, REJECT), (0, lost), (3, REJECT), (3, other)]
    assert [reject.lost_from for reject in folder.rejects(0)] == [None, 9]
    assert not folder.rejects_path(2).exists()
    folder.clean()
    assert folder.all_rejects() == [(0, REJECT), (0, lost), (3, REJECT)]


def test_a_quarantine_is_what_it_always_was(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    folder.add_to_quarantine(0, 8, dataclasses.replace(REJECT, lost_from=8))
    folder.add_to_quarantine(0, 2, REJECT)
    assert json.loads(folder.quarantine_path(0).read_text()) == [
        {"ends_partition": False, "ordinal": 2, "reject": REJECT.to_json()},
        {"ends_partition": True, "ordinal": 8, "reject": REJECT.to_json()},
    ]
    assert [(n, reject.lost_from) for n, reject in folder.quarantine(0).items()] == [(2, None), (8, 8)]


def test_it_is_found_by_the_name_of_the_output(tmp_path: Path) -> None:
    out = tmp_path / "toy" / "1.0.0"
    with pytest.raises(FileNotFoundError, match="is no dataset"):
        find(out)
    folder = folder_in(tmp_path)
    assert find(out).path == find(folder.path).path == folder.path and find(out).plan == folder.plan
    assert unfinished(out) == [folder.path] and count_done(out) == 0
    folder.write_done(0, done(folder, 0))
    assert count_done(out) == 1
    (tmp_path / "toy" / ".1.0.0.partial-other").mkdir()
    with pytest.raises(ValueError, match="several unfinished conversions"):
        find(out)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"partitions": [1]}', '{"partitions": [{}], "dataset": "toy"}'])
def test_a_damaged_plan_is_named(text: str, tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    (folder.path / "_run/plan.json").write_text(text)
    with pytest.raises(ValueError, match=r"_run/plan\.json is damaged: "):
        WorkFolder.open(folder.path)
    (folder.path / "_run/plan.json").unlink()
    with pytest.raises(FileNotFoundError):
        WorkFolder.open(folder.path)


@pytest.mark.parametrize("version", ["1[0]", "1*", "a b"])
def test_the_name_of_the_output_is_no_pattern(version: str, tmp_path: Path) -> None:
    own, other = tmp_path / f".{version}.partial-0", tmp_path / ".10.partial-0"
    own.mkdir()
    other.mkdir()
    assert unfinished(tmp_path / version) == [own]
    assert unfinished(tmp_path / "nowhere" / version) == []


def test_one_run_holds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.conversion.work_storage._LOCK_SECONDS", 0.1)
    folder = folder_in(tmp_path)
    with folder.locked(), pytest.raises(ConvertError, match="another run is writing to"), folder.locked():
        pass
    with folder.locked():
        pass
