"""A conversion from sources to a dataset: what it makes, and what each option does."""

import dataclasses
import gzip
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from conversions import WORDS, convert, minari_file, slow_source, tree, write_documents, write_pictures
from PIL import Image

from gato_tokenize import Dataset
from gato_tokenize.tokenizer import EpisodeTokenizer
from pipelines.conversion.plan import make_plan
from pipelines.sources import open_source


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources are named by relative paths, so that plans are the same wherever the tests run."""
    monkeypatch.chdir(tmp_path)
    open_source.cache_clear()


def test_documents_and_pictures_come_back_as_they_were() -> None:
    assert convert(write_documents(), write_pictures()) == 0
    dataset = Dataset.open("out/toy/1.0.0")
    lines = [line for n in range(3) for line in gzip.decompress(Path(f"docs-{n}.jsonl.gz").read_bytes()).splitlines()]
    texts = [json.loads(line)["text"] for line in lines]
    episodes = list(dataset.episodes())
    assert [e.fields["observation/text"][0] for e in episodes if e.metadata.task == "text"] == texts
    pictures = [e for e in episodes if e.metadata.task == "caption"]
    for number, episode in enumerate(pictures):
        assert np.array_equal(episode.fields["observation/image"][0], np.asarray(Image.open(f"{number}.png")))
        assert episode.fields["observation/caption"] == [f"noise number {number}"]
    assert (
        dataset.record(dataset.manifest["splits"]["train"]["records"] - 1).metadata.episode_id
        == pictures[-1].metadata.episode_id
    )
    manifest = dataset.manifest
    assert manifest["episodes"] == {"read": 66, "written": 66, "rejected": {}, "filtered": {}, "duplicates": 0}
    assert [(i["uri"], i["sha256"]) for i in manifest["inputs"]][0] == (
        "docs-0.jsonl.gz",
        hashlib.sha256(Path("docs-0.jsonl.gz").read_bytes()).hexdigest(),
    )


def test_the_folder_is_what_the_documentation_says() -> None:
    convert(write_documents(), "--validation-fraction", "0.3")
    names = {name.removeprefix("toy/1.0.0/") for name in tree()}
    shards = {f"toy-{split}.tfrecord-{n:05d}-of-00003" for split in ("train", "validation") for n in range(3)}
    assert names == {
        *shards,
        *(f"index/{shard}.idx" for shard in shards),
        *("manifest.json", "dataset_info.json", "features.json", "stats.json", "episodes.jsonl.gz"),
        *("README.md", "croissant.json"),
        *("tokenizer/spec.json", "tokenizer/text.model", "_run/plan.json"),
        *(f"_run/part-{n:05d}.done.json" for n in range(3)),
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # tensorflow_datasets itself
def test_tfds_and_tf_data_read_it() -> None:
    tfds = pytest.importorskip("tensorflow_datasets")
    tf = pytest.importorskip("tensorflow")
    convert(write_documents(), "--validation-fraction", "0.3")
    expected = [list(record.sequence.ids) for record in Dataset.open("out/toy/1.0.0").records()]
    loaded = tfds.load("toy", data_dir="out", split="train", shuffle_files=False)
    assert [list(example["tokens"].numpy()) for example in loaded] == expected
    plain = tf.data.TFRecordDataset(sorted(str(path) for path in Path("out/toy/1.0.0").glob("*-train.*-of-*")))
    parsed = [tf.io.parse_single_example(data, {"tokens": tf.io.RaggedFeature(tf.int64)}) for data in plain]
    assert [list(example["tokens"].numpy()) for example in parsed] == expected


def test_a_split_depends_on_the_id_and_the_seed_alone() -> None:
    source = write_documents()
    splits = {}
    for name, more in (("a", []), ("b", ["--limit", "7"]), ("c", ["--split-seed", "1"])):
        assert convert(source, "--validation-fraction", "0.3", *more, out=f"out/{name}/1.0.0") == 0
        dataset = Dataset.open(f"out/{name}/1.0.0")
        splits[name] = {r.metadata.episode_id: s for s in dataset.splits for r in dataset.records(s)}
    assert len(splits["a"]) == 60 and len(splits["b"]) == 7
    assert {key: splits["a"][key] for key in splits["b"]} == splits["b"]
    assert 8 <= list(splits["a"].values()).count("validation") <= 28
    assert splits["a"] != splits["c"]


def test_a_long_episode_is_cut_and_whole_again() -> None:
    h5py = pytest.importorskip("h5py")
    source = minari_file("none")
    generator = np.random.default_rng(0)
    steps, observations = 9000, generator.normal(size=(9001, 2)).astype(np.float32)
    with h5py.File("minari-none/data/main_data.hdf5", "r+") as file:
        group = file["episode_1"]
        for name, values in {
            "observations": observations,
            "actions": generator.integers(0, 3, steps),
            "rewards": np.ones(steps),
            "terminations": np.zeros(steps, bool),
            "truncations": np.zeros(steps, bool),
        }.items():
            del group[name]
            group[name] = values
        actions = group["actions"][:]
        group.attrs["total_steps"] = steps
    assert convert(source) == 0
    dataset = Dataset.open("out/toy/1.0.0")
    records = [r for r in dataset.records() if r.metadata.source_index == 1]
    assert [(r.metadata.segment_index, r.metadata.num_segments) for r in records] == [(0, 3), (1, 3), (2, 3)]
    assert [r.metadata.step_offset for r in records] == [0, 4096, 8192]  # 4 tokens a timestep, 16,384 a record
    episodes = list(dataset.episodes())
    assert len(episodes) == 3 and episodes[1].num_steps == steps and episodes[1].metadata.return_ == steps
    assert np.array_equal(episodes[1].fields["action"], actions)
    assert np.abs(episodes[1].fields["observation"] - observations[:-1]).max() < 0.05
    assert dataset.record(3).metadata.segment_index == 2


def test_dry_run_says_what_each_field_was_taken_for_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gymnasium")
    source = "rollouts:faulty_environments:Faulty/Stacked-v0?policy=random"
    assert convert(source, "--dry-run") == 2
    assert "choose by roles=observation/eye:ROLE, where ROLE is frames" in capsys.readouterr().err
    assert convert(f"{source}&roles=observation/eye:frames", write_documents(), "--dry-run") == 0
    lines = [line.split(None, 1) for line in capsys.readouterr().out.splitlines()]
    why = "(chosen: frames, 4 along axis -1 of uint8[32, 32, 4] from 0 to 255)"
    assert ["observation/eye/0", f"image, uint8[32, 32] {why}"] in lines
    assert ["observation/w~1pos", "continuous, float32[1] (float64[1] from -9.0 to 9.0 is real numbers)"] in lines
    assert ["action/a~1b", "discrete, int[], size 3 (a Discrete space)"] in lines
    assert ["observation/text", "text"] in lines  # a source that infers nothing has no reasons


def test_dry_run_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(write_documents(), "--dry-run") == 0
    out = capsys.readouterr().out
    assert "3 shards a split" in out and "docs-0.jsonl.gz" in out and "observation/text" in out
    assert not Path("out").exists()


def test_another_text_model() -> None:
    from gato_tokenize import train_text_model

    Path("corpus.txt").write_text("\n".join(f"{word} {other}" for word in WORDS for other in WORDS) * 20)
    train_text_model([Path("corpus.txt")], Path("small.model"), vocabulary_size=400)
    assert convert(write_documents(), "--text-model", "small.model") == 0
    dataset = Dataset.open("out/toy/1.0.0")
    assert dataset.tokenizer.text is not None and dataset.tokenizer.text.vocabulary_size == 400
    assert max(int(record.sequence.ids.max()) for record in dataset.records()) < 400


def test_local_positions(capsys: pytest.CaptureFixture[str]) -> None:
    source = "rollouts:BabyAI-GoToLocal-v0?episodes=2"  # 7 x 7 x 3 values and more
    assert convert(source, "--local-positions", "100") == 2
    assert "local positions" in capsys.readouterr().err
    assert convert(source, "--local-positions", "200") == 0
    assert Dataset.open("out/toy/1.0.0").tokenizer.local_positions == 200


def test_a_plan_survives_its_json_and_changes_with_what_it_holds() -> None:
    plan, _ = make_plan([write_documents()], Path("out/toy/1.0.0"))
    assert type(plan).from_json(plan.to_json()) == plan
    assert dataclasses.replace(plan, max_tokens=5).sha256 != plan.sha256


def test_the_list_of_episodes_finds_each_record() -> None:
    convert(write_documents(), "--validation-fraction", "0.3")
    folder = Path("out/toy/1.0.0")
    lines = [json.loads(line) for line in gzip.open(folder / "episodes.jsonl.gz", "rt", encoding="utf-8")]
    assert len(lines) == len(Dataset.open(folder)) == 60
    from gato_tokenize import read_record

    for line in lines[:5]:
        record = read_record(folder / line["shard"], line["record"])
        assert record.metadata.episode_id == line["episode_id"] and len(record.sequence) == line["tokens"]


def test_every_task_of_a_dataset_has_its_own_spec() -> None:
    assert convert(write_documents(), write_pictures(), slow_source(2)) == 0
    tokenizer = Dataset.open("out/toy/1.0.0").tokenizer
    assert sorted(tokenizer.specs) == ["BabyAI-GoToLocal-v0", "caption", "text", "vqa"]
    assert isinstance(tokenizer.task("caption"), EpisodeTokenizer)
    with pytest.raises(KeyError, match="no task 'chess'"):
        tokenizer.task("chess")
