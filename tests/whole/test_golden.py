"""Golden datasets, one of each schema version: made once by scripts/make_golden_datasets.py, readable forever.

A failure here means that data made by an earlier release can no longer be read, or would get other tokens today.
"""

import dataclasses
import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gato_model import Share, batches
from gato_tokenize import Dataset, Kind, TokenSequence
from gato_tokenize.storage.schema import READABLE, SCHEMA_VERSION
from gato_tokenize.storage.segments import content_hash
from pipelines.__main__ import main
from pipelines.conversion.convert import convert as run_plan
from pipelines.conversion.reject_budget import RejectBudget
from pipelines.conversion.work_folder import ConvertError, WorkFolder
from pipelines.conversion.write_partition import write_here
from pipelines.inspection.verify import verify

GOLDEN = Path(__file__).parents[1] / "data/golden"
FOLDERS = [GOLDEN / f"schema_{version}/1.0.0" for version in READABLE]

END = 2
JPEG = "9f2700e783cefaaa5b809d889c92ef963c5ac159ee6e2e13ea1b7508f3414a88"
IDS = {  # by episode and segment: what the records hold, as ids; a patch is 0
    ("two", 0): [287, 286, 205, 185, 128, 280, 279, 238, 199, 170, 239, 175, 199, 3, 6, 266, 290, END],
    ("pairs.jsonl#1", 0): [0, 0, 286, 279, 272, 270, 298, 288, 286, 267, END],
    ("pairs.jsonl#2", 0): [0, 299, 285, 273, 279, 274, 292, 281, 288, 283, 295, 272, END],
    ("golden/arm-v1/0", 0): [32512, 32744, 32198, 33024, 32640, 32000],
    ("golden/arm-v1/1", 1): [
        *[32710, 32198, 32512, 33024, 32512, 32512],
        *[32719, 32189, 32512, 33024, 32563, 32409],
        *[32727, 32181, 33023, 33024, 32614, 32307],  # 300 is clipped
        *[32733, 32174, 32512, 33024, 32665, 32204],
        *[32739, 32168, 32512, 33024, 32716, 32102],
    ],
    ("golden/arm-v1/1", 2): [32744, 32163, 32512, 33024, 32768, 32000],
    ("golden/eye-v1/0", 0): [0, 0, 33024, 4, 0, 0, 33024, 0],
    ("golden/words-v1/0", 0): [
        *[268, 279, 292, 277, 282, 0, 33024, 2],  # "go left", way -1, separator, action 2
        *[268, 279, 292, 277, 282, 3, 33024, 1],
    ],
}
NAMES = ["one", "two", "pairs.jsonl#1", "pairs.jsonl#2", "golden/arm-v1/0", *["golden/arm-v1/1"] * 3]
NAMES += ["golden/eye-v1/0", "golden/words-v1/0"]


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.parent.name)
def dataset(request: pytest.FixtureRequest) -> Dataset:
    return Dataset.open(request.param)


def test_there_is_one_of_each_schema_version() -> None:
    assert sorted(path.name for path in GOLDEN.glob("schema_*")) == [
        f"schema_{n}" for n in range(1, SCHEMA_VERSION + 1)
    ]
    assert tuple(range(1, SCHEMA_VERSION + 1)) == READABLE


def test_it_is_sound(dataset: Dataset, tmp_path: Path) -> None:
    assert list(verify(dataset.path, deep=True)) == []
    copy = Path(shutil.copytree(dataset.path, tmp_path / dataset.path.parent.name / "1.0.0"))
    shard = next(copy.glob("*train*"))
    shard.write_bytes(shard.read_bytes()[:-1])
    assert [fault.file for fault in verify(copy)] == [shard.name]


def test_the_ids_of_its_records(dataset: Dataset) -> None:
    records = list(dataset.records())
    assert [record.metadata.episode_id for record in records] == NAMES
    found = {(r.metadata.episode_id, r.metadata.segment_index): r.sequence.ids.tolist() for r in records}
    assert {key: found[key] for key in IDS} == IDS
    assert dataset.record(6).sequence.ids.tolist() == IDS["golden/arm-v1/1", 1]


def test_kinds_losses_and_positions(dataset: Dataset) -> None:
    by_id = {record.metadata.episode_id: record.sequence for record in dataset.records()}
    words, arm, asked = by_id["golden/words-v1/0"], by_id["golden/arm-v1/0"], by_id["pairs.jsonl#2"]
    assert words.kinds[:8].tolist() == [*[Kind.TEXT] * 5, Kind.DISCRETE, Kind.SEPARATOR, Kind.DISCRETE_ACTION]
    assert words.loss_mask[:8].tolist() == [1, 1, 1, 1, 1, 0, 0, 1] and words.step_splits.tolist() == [0, 8, 16]
    assert words.local_positions[:8].tolist() == [0, 1, 2, 3, 4, 5, -1, -2]
    assert arm.kinds.tolist() == [*[Kind.CONTINUOUS] * 3, Kind.SEPARATOR, *[Kind.CONTINUOUS_ACTION] * 2]
    assert arm.loss_mask.tolist() == [0, 0, 0, 0, 1, 1]
    assert asked.kinds.tolist() == [Kind.PATCH, *[Kind.TEXT] * 12]
    assert asked.loss_mask.tolist() == [*[0] * 11, 1, 1]  # the question is not predicted, the answer is


def test_the_metadata_of_an_episode(dataset: Dataset) -> None:
    named = dataset.record(7).metadata
    assert (named.episode_id, named.task) == ("golden/arm-v1/1", "golden/arm-v1")
    assert named.dataset == dataset.path.parent.name
    assert (named.domain, named.agent_id, named.source_index) == ("golden", "a hand", 1)
    assert (named.segment_index, named.num_segments, named.step_offset, named.num_steps) == (2, 3, 10, 11)
    assert (named.return_, named.success, named.terminated, named.truncated) == (55.0, -1, True, False)
    parts = [record.sequence for record in dataset.records() if record.metadata.episode_id == "golden/arm-v1/1"]
    assert named.content_hash == content_hash(TokenSequence.join(parts))
    assert named.content_hash.startswith("07d4fa17")


def test_its_episodes_decoded(dataset: Dataset) -> None:
    episodes = {episode.metadata.episode_id: episode.fields for episode in dataset.episodes()}
    assert episodes["one"] == {"observation/text": ["the end of a short document"]}
    assert episodes["two"] == {"observation/text": ["naïve 你好\n\tend"]}
    words = episodes["golden/words-v1/0"]
    assert words["observation/mission"] == ["go left", "go left"]
    assert (words["observation/way"].tolist(), words["action"].tolist()) == ([-1, 2], [2, 1])
    arm = episodes["golden/arm-v1/1"]
    step = np.arange(11)
    seen = np.stack([step / 10, -step, np.where(step == 7, 256, 0)], axis=1)
    assert np.abs(arm["observation"] - seen).max() < 3 and np.abs(arm["observation"][:, :2] - seen[:, :2]).max() < 0.11
    assert np.abs(arm["action"] - np.stack([step / 10 - 0.5, 1 - step / 5], axis=1)).max() <= 0.001
    assert (episodes["pairs.jsonl#2"]["observation/question"], episodes["pairs.jsonl#2"]["observation/answer"]) == (
        ["what colour?"],
        ["grey"],
    )


def test_rewards_came_with_schema_2(dataset: Dataset) -> None:
    episodes = {episode.metadata.episode_id: episode for episode in dataset.episodes()}
    arm, one = episodes["golden/arm-v1/1"], episodes["one"]
    assert one.rewards is None
    assert (arm.rewards is None) == (dataset.path == FOLDERS[0])
    assert arm.rewards is None or arm.rewards.tolist() == list(range(11))


def test_both_hold_the_same() -> None:
    records = [list(Dataset.open(folder).records()) for folder in FOLDERS]
    for one, two in zip(*records, strict=True):
        assert one.sequence == two.sequence
        alike = {"dataset": "", "content_hash": ""}
        assert repr(dataclasses.replace(one.metadata, **alike)) == repr(dataclasses.replace(two.metadata, **alike))
    sizes = [sum(split["bytes"] for split in Dataset.open(folder).manifest["splits"].values()) for folder in FOLDERS]
    assert sizes[1] < sizes[0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # tensorflow_datasets itself
def test_tfds_reads_it(dataset: Dataset) -> None:
    tfds = pytest.importorskip("tensorflow_datasets")
    name, folder = dataset.path.parent.name, dataset.path.parents[1]
    loaded = list(tfds.load(name, data_dir=str(folder), split="train", shuffle_files=False).as_numpy_iterator())
    records = list(dataset.records())
    assert [example["tokens"].tolist() for example in loaded] == [record.sequence.ids.tolist() for record in records]
    for example, record in zip(loaded, records, strict=True):
        found, named = example["episode_metadata"], record.metadata
        assert (found["episode_id"].decode(), found["task"].decode() or "text") == (named.episode_id, named.task)
        assert (found["segment_index"], found["step_offset"]) == (named.segment_index, named.step_offset)
        assert (bool(found["terminated"]), bool(found["truncated"])) == (named.terminated, named.truncated)
        assert found["num_steps"] == named.num_steps or (found["num_steps"] == -(2**63) and named.num_segments == 1)
        unknown = np.isnan(found["return"]) or found["return"] == np.finfo(np.float32).min
        assert unknown if np.isnan(named.return_) else found["return"] == named.return_
        rewards = [] if record.rewards is None else record.rewards.tolist()
        assert example.get("rewards", np.zeros(0)).tolist() == rewards


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # tensorflow_datasets itself
def test_a_retry_of_schema_1_adds_records_of_schema_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tfds = pytest.importorskip("tensorflow_datasets")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(FOLDERS[0], "schema_1/1.0.0")
    Path("docs.jsonl").write_text(
        '{"id": "one", "text": "the end of a short document"}\n{"id": "new", "text": "grey"}\n'
        '{"id": "two", "text": "naïve 你好\\n\\tend"}\n',
        encoding="utf-8",
    )
    assert main(["rejects", "retry", "schema_1/1.0.0", "--out", "schema_1/1.0.1"]) == 0
    assert list(verify(Path("schema_1/1.0.1"), deep=True)) == []
    mixed = Dataset.open("schema_1/1.0.1")
    records = {record.metadata.episode_id: record for record in mixed.records()}
    assert set(records) == {*NAMES, "new"} and records["new"].metadata.dataset == "schema_1"
    loaded = tfds.load("schema_1:1.0.1", data_dir=".", split="train", shuffle_files=False)
    ids = [example["episode_metadata"]["episode_id"].decode() for example in loaded.as_numpy_iterator()]
    assert ids == [*NAMES, "new"]
    (row,) = batches([Share("schema_1/1.0.1")], batch_size=1, sequence_length=64, prompt_share=0).batch(0)["tokens"]
    assert row.any()


def test_a_conversion_that_another_schema_began_is_refused(tmp_path: Path) -> None:
    folder = WorkFolder.open(FOLDERS[0])
    with pytest.raises(ConvertError, match="the plan asks for records of schema 1, this release writes 2: plan anew"):
        run_plan(folder.plan, folder.tokenizer, tmp_path / "schema_1/1.0.0", RejectBudget("1"), write_here)
    assert not (tmp_path / "schema_1").exists()


def test_its_pictures(dataset: Dataset) -> None:
    by_id = {record.metadata.episode_id: record.sequence for record in dataset.records()}
    rows, columns = np.mgrid[:16, :32]
    picture = np.stack([rows * 16, columns * 8, rows * 0 + 7], axis=2).astype(np.uint8)
    eye = by_id["golden/eye-v1/0"]
    assert np.array_equal(eye.patches, [picture[:, :16], picture[:, 16:], picture[:, :16] * 0, picture[:, :16] * 0])
    assert eye.grids.tolist() == [[1, 2], [1, 2]] and eye.encoded == ()
    (jpeg,) = by_id["pairs.jsonl#1"].encoded
    assert hashlib.sha256(jpeg).hexdigest() == JPEG
    with Image.open(io.BytesIO(jpeg)) as image:
        assert np.array_equal(np.concatenate(list(by_id["pairs.jsonl#1"].patches), axis=1), np.asarray(image))
    assert (by_id["pairs.jsonl#2"].patches == 128).all() and by_id["pairs.jsonl#2"].grids.tolist() == [[1, 1]]


def test_today_s_tokenizer_gives_the_same_tokens(dataset: Dataset) -> None:
    """From the decoded values: a bin's centre is in its bin, texts and pixels are exact."""
    wholes: dict[str, list[TokenSequence]] = {}
    for record in dataset.records():
        wholes.setdefault(record.metadata.episode_id, []).append(record.sequence)
    episodes = list(dataset.episodes())
    assert {episode.metadata.episode_id for episode in episodes} == set(wholes)
    for episode in episodes:
        sequence = TokenSequence.join(wholes[episode.metadata.episode_id])
        again = dataset.tokenizer.task(episode.metadata.task).encode(episode)
        assert again.ids.tolist() == sequence.ids.tolist(), episode.metadata.episode_id
        for name in ("kinds", "loss_mask", "step_splits", "patches", "grids"):
            assert np.array_equal(getattr(again, name), getattr(sequence, name)), (episode.metadata.episode_id, name)
    assert len(wholes) == 8


def test_what_else_is_in_the_folder(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert dataset.manifest["episodes"]["rejected"] == {"read: ValueError": 1}
    assert json.loads(next((dataset.path / "rejects").iterdir()).read_text())["episode_id"] == "docs.jsonl#2"
    assert main(["inspect", str(dataset.path)]) == 0
    assert "8 episodes written, 1 rejected" in capsys.readouterr().out
    assert main(["inspect", str(dataset.path), "--episode", "golden/arm-v1/1", "--steps", "9"]) == 0
    assert "timestep 8" in capsys.readouterr().out
