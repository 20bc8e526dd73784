"""Documents that are written together: the same bytes as one by one, and a reject costs itself alone."""

import json
import re
from pathlib import Path

import pytest
from conversions import convert, rejects, tree

from gato_tokenize import Dataset
from gato_tokenize.storage import segments, tfrecord
from gato_tokenize.storage.tfrecord import shard_writer
from pipelines.conversion import write_partition as module
from pipelines.conversion.convert import convert as run_plan
from pipelines.conversion.plan import make_plan
from pipelines.conversion.reject_budget import RejectBudget
from pipelines.conversion.work_folder import WorkFolder
from pipelines.conversion.write_partition import write_partition
from pipelines.sources import open_source
from pipelines.sources.reading import Reject, Step

LINES = [json.dumps({"text": f"document {number} " * (number % 5 + 1)}) for number in range(50)]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_source.cache_clear()


def write_by(one_by_one: bool, out: str, *sources: str, budget: str = "99") -> dict[str, str]:
    """Convert in this process; returns {file: sha256}."""

    def run(folder: WorkFolder) -> None:
        for index in folder.indices:
            write_partition(folder, index, one_by_one=one_by_one)

    path = Path(out) / "toy/1.0.0"
    plan, tokenizer = make_plan(sources, path, validation_fraction=0.3)
    run_plan(plan, tokenizer, path, RejectBudget(budget), run)
    return tree(out)


@pytest.mark.parametrize(("together", "characters"), [(256, 2**18), (3, 2**18), (256, 40)])
def test_the_bytes_do_not_depend_on_how_many_are_written_together(
    together: int, characters: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = LINES[:20] + ["", "no JSON", '{"text": ""}', ""] + LINES[20:]
    Path("docs.jsonl").write_text("\n".join(lines) + "\n")
    sources = ("text:docs.jsonl", "faulty_source:FaultySource:30?bad=3,17,18&at=tokenize")
    alone = write_by(True, "alone", *sources)
    monkeypatch.setattr(module, "TOGETHER", together)
    monkeypatch.setattr(module, "_CHARACTERS", characters)
    assert write_by(False, "together", *sources) == alone
    listed = [reject["episode_id"] for reject in rejects("together/toy/1.0.0")]
    assert listed == ["docs.jsonl#22", "docs.jsonl#23", "toy/3", "toy/17", "toy/18"]
    assert Dataset.open("together/toy/1.0.0").manifest["episodes"]["filtered"] == {"blank line": 2}


def test_a_document_that_cannot_be_tokenized_costs_itself() -> None:
    assert convert("faulty_source:FaultySource:30?bad=3,13,14&at=tokenize", "--max-rejects", "3") == 0
    (stage,) = {(reject["stage"], reject["exception"]) for reject in rejects()}
    assert stage == ("tokenize", "ValueError")
    assert all("texts[0] has a lone surrogate" in reject["message"] for reject in rejects())
    assert len(Dataset.open("out/toy/1.0.0")) == 27


@pytest.mark.parametrize("one_by_one", [True, False])
def test_a_document_whose_record_no_reader_accepts_costs_itself(
    one_by_one: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [json.dumps({"text": text}) for text in ("short", " ".join(map(str, range(2000))), "short, too")]
    Path("docs.jsonl").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(tfrecord, "MAX_RECORD_BYTES", 1000)
    monkeypatch.setattr(segments, "MAX_RECORD_BYTES", 1000)
    write_by(one_by_one, "out", "text:docs.jsonl")
    dataset = Dataset.open("out/toy/1.0.0")
    (reject,) = rejects("out/toy/1.0.0")
    assert (reject["stage"], reject["episode_id"]) == ("tokenize", "docs.jsonl#2")
    assert re.match(
        r"timesteps 0 to 0 become a record of \d{4,} bytes: readers accept at most 1000;", reject["message"]
    )
    assert dataset.manifest["episodes"]["written"] == len(dataset) == 2
    with shard_writer("shard") as shard, pytest.raises(ValueError, match="a record of 1001 bytes: readers accept"):
        shard.write(bytes(1001))


def steps_of(one_by_one: bool) -> list[tuple[str, int] | str]:
    path = Path(f"steps-{one_by_one}/toy/1.0.0")
    plan, tokenizer = make_plan(["faulty_source:FaultySource:4?bad=1&fault=raise&each=4"], path)
    events: list[tuple[str, int] | str] = []

    def on_step(event: Step | Reject) -> None:
        events.append((event.stage, event.ordinal) if isinstance(event, Step) else event.episode_id)

    folder = WorkFolder.of(plan, path)
    with folder.locked():
        folder.save(tokenizer)
        write_partition(folder, 0, on_step, one_by_one)
    return [event for event in events if isinstance(event, str) or event[0] in ("read", "tokenize")]


def test_one_by_one_each_candidate_is_done_before_the_next_and_together_a_reject_is_told_at_once() -> None:
    assert steps_of(one_by_one=True) == [
        *(("read", 0), ("tokenize", 0), ("read", 1), "toy/1"),
        *(("read", 2), ("tokenize", 2), ("read", 3), ("tokenize", 3)),
    ]
    assert steps_of(one_by_one=False) == [
        *(("read", 0), ("read", 1), ("tokenize", 0), "toy/1"),
        *(("read", 2), ("read", 3), ("tokenize", 2)),
    ]
