"""Datasets merged, filtered and split: the same records, and everything around them as after a conversion."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conversions import convert, minari_file, tree, write_lines, write_pictures
from killed import killed

from gato_model import Share, batches
from gato_tokenize import Dataset
from gato_tokenize.storage.tfrecord import read_frames
from pipelines.__main__ import main
from pipelines.conversion.plan import Plan, PlanError
from pipelines.conversion.work import Work
from pipelines.editing import edit as editing
from pipelines.editing.edit import edit
from pipelines.editing.rules import Filter, Merge, Split
from pipelines.inspection.verify import verify
from pipelines.sources import open_source
from pipelines.stats.from_tokens import COUNTED_FROM_TOKENS

GOLDEN = Path(__file__).parents[2] / "data/golden"
MODEL = ["--text-model", str(GOLDEN / "schema_2/1.0.0/tokenizer/text.model")]
ARM = ["golden/arm-v1/0", "golden/arm-v1/1"]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    open_source.cache_clear()  # the next test may have files of the same names


@pytest.fixture
def golden() -> Path:
    """Return a dataset of five partitions and eight episodes; one has three segments."""
    return Path(shutil.copytree(GOLDEN / "schema_2", "schema_2")) / "1.0.0"


def ids(dataset: Dataset, split: str = "train") -> list[str]:
    return [episode.metadata.episode_id for episode in dataset.episodes(split)]


def frames(dataset: Dataset) -> list[bytes]:
    found = (read_frames(path) for split in dataset.splits for path in dataset.shards(split))
    return sorted(data for shard in found for _, data in shard)


def sound(folder: str) -> Dataset:
    assert list(verify(Path(folder), deep=True)) == []
    return Dataset.open(folder)


def two_sources() -> list[str]:
    for name in "ab":
        lines = [json.dumps({"text": f"document {name} of number {number}"}) for number in range(20)]
        write_lines(f"{name}.jsonl.gz", lines)
    return ["text:a.jsonl.gz", f"{write_pictures(4)}"]


# --------------------------------------------------------------------------------------------------------- merge


def test_a_merge_is_the_conversion_of_both_sources() -> None:
    one, two = two_sources()
    fraction = ["--validation-fraction", "0.3", *MODEL]
    assert convert(one, two, *fraction, out="both/toy/1.0.0") == 0
    assert convert(one, *fraction, out="out/a/1.0.0") == convert(two, *fraction, out="out/b/1.0.0") == 0
    assert main(["merge", "out/toy/1.0.0", "out/a/1.0.0", "out/b/1.0.0"]) == 0
    merged, both = sound("out/toy/1.0.0"), sound("both/toy/1.0.0")
    assert frames(merged) == frames(both) and merged.stats == both.stats
    assert merged.tokenizer.sha256 == both.tokenizer.sha256
    alike = tree("out/toy/1.0.0").items() & tree("both/toy/1.0.0").items()
    named = {"dataset_info.json", "features.json", "episodes.jsonl.gz", "stats.json"}
    assert named < {name for name, _ in alike} and sum("tfrecord" in name for name, _ in alike) == 8
    before = next(Path("out/a/1.0.0").glob("*.tfrecord-*"))
    assert before.stat().st_nlink == 2  # the merged one has no shards of its own
    inputs = [(given["source"], given["uri"]) for given in merged.manifest["inputs"]]
    assert inputs == [("gato-data merge", f"{name}/1.0.0/manifest.json") for name in "ab"]


def test_what_is_there_already_is_left_alone(golden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["filter", str(golden), "out/toy/1.0.0", "--task", "text"]
    assert main(words) == 0
    before = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*")}
    capsys.readouterr()
    assert main(words) == 0
    assert capsys.readouterr().out.startswith("published already: nothing was written\nout/toy/1.0.0: 2 of 8 episodes")
    assert main([*words[:-1], "vqa"]) == 2
    assert "was made by another plan" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in Path("out").rglob("*")} == before


def test_records_are_copied_where_no_link_can_be_made(golden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise OSError("another device")

    monkeypatch.setattr(os, "link", fails)
    edit([golden], "out/toy/1.0.0", Merge())
    assert frames(sound("out/toy/1.0.0")) == frames(Dataset.open(golden))


# -------------------------------------------------------------------------------------------------------- filter


def test_a_filter_by_task_keeps_shards_and_exact_statistics(golden: Path) -> None:
    edit([golden], "out/toy/1.0.0", Filter(tasks=("golden/arm-v1",)))
    made, old = sound("out/toy/1.0.0"), Dataset.open(golden)
    assert ids(made) == ARM and made.stats["train"] == {"golden/arm-v1": old.stats["train"]["golden/arm-v1"]}
    (shard,) = made.shards()
    assert shard.samefile(old.shards()[2]) and shard.name == "toy-train.tfrecord-00000-of-00001"
    assert made.manifest["episodes"]["filtered"] == {"another task": 6}
    assert made.manifest["inputs"][0]["rule"] == {"tasks": ["golden/arm-v1"]}
    assert made.record(1).sequence == old.record(5).sequence and made.find_episode(ARM[1])[0].sequence.num_steps == 11
    assert made.tokenizer.sha256 == old.tokenizer.sha256  # a model reads both


@pytest.mark.parametrize(
    ("words", "kept", "left_out"),
    [
        (["--min-return", "0.5"], [ARM[1], "golden/eye-v1/0", "golden/words-v1/0"],
         {"its return is unknown": 4, "a return below 0.5": 1}),
        (["--max-return", "1", "--task", "golden/arm-v1"], [ARM[0]], {"a return above 1.0": 1, "another task": 6}),
        (["--min-steps", "2", "--max-steps", "10"], ["golden/eye-v1/0", "golden/words-v1/0"],
         {"a length above 10": 1, "a length below 2": 5}),
        (["--ids", "ids.txt"], ["two", ARM[1]], {"an id that is not listed": 6}),
    ],
)  # fmt: skip
def test_a_filter_by_each_condition(golden: Path, words: list[str], kept: list[str], left_out: dict[str, int]) -> None:
    Path("ids.txt").write_text(f"{ARM[1]}\n\ntwo\n")
    assert main(["filter", str(golden), "out/toy/1.0.0", *words]) == 0
    made = sound("out/toy/1.0.0")
    assert ids(made) == kept and made.manifest["episodes"]["filtered"] == left_out
    assert set(frames(made)) < set(frames(Dataset.open(golden)))
    (row,) = batches([Share("out/toy/1.0.0")], batch_size=1, sequence_length=64, prompt_share=0).batch(0)["tokens"]
    assert row.any()


def test_a_filter_by_success() -> None:
    rollouts = "rollouts:BabyAI-GoToObj-v0?policy=random&episodes=12&image=cells"
    assert convert(rollouts, out="all/toy/1.0.0") == 0
    found = {e.metadata.episode_id: e.metadata.success for e in Dataset.open("all/toy/1.0.0").episodes()}
    assert set(found.values()) == {0, 1}
    for word, success in (("true", 1), ("false", 0)):
        assert main(["filter", "all/toy/1.0.0", f"{word}/toy/1.0.0", "--success", word]) == 0
        assert ids(sound(f"{word}/toy/1.0.0")) == [name for name, value in found.items() if value == success]


def test_statistics_of_a_part_hold_what_tokens_tell(golden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit([golden], "out/toy/1.0.0", Filter(ids=frozenset({ARM[1], "pairs.jsonl#1"})))
    made = sound("out/toy/1.0.0")
    arm, picture = made.stats["train"]["golden/arm-v1"], made.stats["train"]["caption"]
    assert picture == Dataset.open(golden).stats["train"]["caption"]  # all of its task
    assert (arm["episodes"], arm["steps"], arm["tokens"], arm["loss_tokens"]) == (1, 11, 66, 22)
    assert arm["notes"] == {COUNTED_FROM_TOKENS: 1}
    assert {path: set(field) for path, field in arm["fields"].items()} == dict.fromkeys(
        ("observation", "action"), {"values", "bins"}
    )
    assert sum(arm["fields"]["action"]["bins"].values()) == 22
    for command in ("inspect", "report"):  # which show what is there
        assert main([command, "out/toy/1.0.0"]) == 0
    assert COUNTED_FROM_TOKENS in capsys.readouterr().out
    assert COUNTED_FROM_TOKENS in Path("report.html").read_text(encoding="utf-8")


def test_unknown_statistics_stay_unknown_in_later_edits(golden: Path) -> None:
    """What was counted from tokens is not added to what was counted from values."""
    for number in (0, 1):
        edit([golden], f"out/part/1.0.{number}", Filter(ids=frozenset({ARM[number]})))
    edit(["out/part/1.0.0", "out/part/1.0.1"], "out/toy/1.0.0", Merge())
    arm = sound("out/toy/1.0.0").stats["train"]["golden/arm-v1"]
    assert arm["notes"] == {COUNTED_FROM_TOKENS: 2} and set(arm["fields"]["action"]) == {"values", "bins"}
    old = Dataset.open(golden).stats["train"]["golden/arm-v1"]
    assert arm["fields"]["action"]["bins"] == old["fields"]["action"]["bins"]
    assert all(arm[name] == old[name] for name in ("episodes", "steps", "tokens", "loss_tokens", "tokens_by_kind"))


# --------------------------------------------------------------------------------------------------------- split


def test_a_split_moves_no_episode_when_the_dataset_grows() -> None:
    one, _ = two_sources()
    assert convert(one, out="one/a/1.0.0") == convert("text:b.jsonl.gz", out="one/b/1.0.0") == 0
    edit(["one/a/1.0.0", "one/b/1.0.0"], "one/c/1.0.0", Merge())
    words = ["--validation", "0.3", "--test", "0.2", "--seed", "5"]
    for name in "ac":
        assert main(["split", f"one/{name}/1.0.0", f"two/{name}/1.0.0", *words]) == 0
    small, grown = sound("two/a/1.0.0"), sound("two/c/1.0.0")
    assert set(small.splits) == set(grown.splits) == {"train", "validation", "test"}
    for split in small.splits:
        assert ids(small, split) and set(ids(small, split)) == {name for name in ids(grown, split) if name[0] == "a"}
    assert frames(grown) == frames(Dataset.open("one/c/1.0.0"))
    plan = Plan("toy", "1.0.0", (Work("", {}),), (), "", validation_fraction=0.3, split_seed=5)
    assert set(ids(grown, "validation")) == {
        name for split in grown.splits for name in ids(grown, split) if plan.split_of(name) == "validation"
    }
    info = json.loads((grown.path / "dataset_info.json").read_text())
    counts = {split["name"]: sum(map(int, split["shardLengths"])) for split in info["splits"]}
    assert counts == {split: len(ids(grown, split)) for split in grown.splits}


def test_the_fractions_of_many_ids() -> None:
    from pipelines.editing.rules import Listed

    def counts(rule: Split) -> dict[str, set[int]]:
        found: dict[str, set[int]] = {"train": set(), "validation": set(), "test": set()}
        for number in range(2000):
            split, why = rule.place(Listed([{"episode_id": f"e{number}"}], "train"))
            assert not why
            found[split].add(number)
        return found

    small, large = counts(Split(0.1, 0.2)), counts(Split(0.15, 0.3))
    assert abs(len(small["validation"]) - 200) < 45 and abs(len(small["test"]) - 400) < 60
    assert small["validation"] < large["validation"] and small["test"] < large["test"]
    assert counts(Split(0.1, 0.2, seed=1)) != small


# -------------------------------------------------------------------------------------------- refused, and killed


def damaged(golden: Path) -> Path:
    shard = next(golden.glob("*train.tfrecord-00002*"))
    data = bytearray(shard.read_bytes())
    data[700] ^= 1
    shard.write_bytes(data)
    return golden


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda: Filter(), "a filter needs a condition"),
        (lambda: Filter(min_steps=3, max_steps=2), "no length is at least 3 and at most 2"),
        (lambda: Filter(min_return=float("nan")), "a bound of the return must be a number"),
        (lambda: Filter(tasks=("arm",)), "there is no episode of task 'arm'; tasks: caption, golden/arm-v1"),
        (lambda: Filter(ids=frozenset({"one", "three"})), "1 of 2 ids are of no episode, such as 'three'"),
        (lambda: Filter(min_steps=12), "not one of 8 episodes is taken: 8 for a length below 12"),
        (lambda: Split(), "give a validation fraction, a test fraction or both"),
        (lambda: Split(0.5, 0.5), "which leave something for train"),
        (lambda: Split(-0.1), "the validation fraction is in"),
    ],
)
def test_rules_that_make_no_dataset(golden: Path, rule: Any, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        edit([golden], "out/toy/1.0.0", rule())
    assert not Path("out").exists()


def test_datasets_that_do_not_go_together(golden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, _ = two_sources()
    assert convert(one, *MODEL, "--local-positions", "99", out="a/a/1.0.0") == 0
    assert convert(one, out="b/b/1.0.0") == convert(one, *MODEL, "--vocabulary", "disjoint=true", out="c/c/1.0.0") == 0
    write_lines("d.jsonl.gz", [json.dumps({"text": "one"})])
    damaged(Path(shutil.copytree(golden.parent, "worse")) / "1.0.0")
    assert convert("text:d.jsonl.gz?id=text", *MODEL, out="d/d/1.0.0") == 0
    for other, message in (
        ("a/a/1.0.0", "have different numbers of local positions, 512 and 99"),
        ("b/b/1.0.0", "have different text models"),
        ("c/c/1.0.0", "have different vocabularies"),
        ("d/d/1.0.0", "episode id 'one' stands twice, in schema_2/1.0.0 and d/d/1.0.0; 1 ids are double"),
        ("nowhere", "nowhere is no complete dataset: there is nothing"),
        ("worse/1.0.0", "worse/1.0.0 is damaged: schema_2-train.tfrecord-00002-of-00005: its sha256"),
    ):
        capsys.readouterr()
        assert main(["merge", "out/toy/1.0.0", str(golden), other]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert not Path("out").exists()


def test_one_task_with_two_specs(golden: Path) -> None:
    assert convert(f"{minari_file('none')}?task=text", out="b/b/1.0.0") == 0
    with pytest.raises(PlanError, match="and b/b/1.0.0 have different specs of task 'text', "):
        edit([golden, "b/b/1.0.0"], "out/toy/1.0.0", Merge())


def test_a_record_that_is_damaged_meanwhile_is_not_copied(
    golden: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(editing, "verify", lambda path: iter(()))  # damaged just after it was verified
    assert main(["filter", str(damaged(golden)), "out/toy/1.0.0", "--min-steps", "11"]) == 2
    assert "the checksum of its data does not match" in capsys.readouterr().err
    assert not Path("out/toy/1.0.0").exists()


def test_killed_it_goes_on(golden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = Filter(max_steps=5)
    edit([golden], "whole/toy/1.0.0", rule)
    write_group, written = editing.write_group, []

    def dies(folder: Any, index: int, *rest: Any) -> Any:
        if index == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return write_group(folder, index, *rest)

    def edits() -> None:
        editing.write_group = dies
        edit([golden], "out/toy/1.0.0", rule)

    killed(edits)
    assert not Path("out/toy/1.0.0").exists()
    monkeypatch.setattr(editing, "write_group", lambda *given: (written.append(given[1]), write_group(*given))[1])
    edit([golden], "out/toy/1.0.0", rule)
    assert tree("out") == tree("whole") and min(written) == 2
    assert list(Path("out/toy").iterdir()) == [Path("out/toy/1.0.0")]
