"""The public Beam steps: the example runs, rejects come out, bytes do not depend on the order of elements."""

import hashlib
import json
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from conversions import tree
from s3_server import s3_server, upload

from examples import own_beam_job
from gato_model import Share, batches
from gato_tokenize import Dataset, Record
from gato_tokenize.storage.dataset import DatasetTokenizer
from gato_tokenize.storage.segments import content_hash
from gato_tokenize.storage.store_path import StorePath, files_below
from pipelines.beam_steps import REJECTS, PublishDataset, ReadEpisodes, TokenizeEpisodes, WriteShards
from pipelines.conversion.work_folder import WorkFolder
from pipelines.inspection.verify import verify
from pipelines.sources import open_source
from pipelines.sources.reading import Reject
from pipelines.sources.source import Candidate

LINES = ["short", "a document of twenty characters or more", '"not json', "another one, also long enough to stay"]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_source.cache_clear()


def write() -> str:
    rows = [line if line.startswith('"') else json.dumps({"text": line}) for line in LINES]
    Path("docs.jsonl").write_text("\n".join(rows) + "\n")
    return "text:docs.jsonl"


def save(record: Record) -> None:
    Path(content_hash(record.sequence)).write_bytes(record.to_bytes())


def test_the_example_from_documents_to_a_training_step() -> None:
    folder = Path("out/own/1.0.0")
    own_beam_job.run(write(), folder, max_rejects="1")
    assert list(verify(folder, deep=True)) == []
    dataset = Dataset.open(folder)
    texts = {episode.fields["observation/text"][0] for episode in dataset.episodes()}
    assert texts == {LINES[1], LINES[3]} and len(dataset.shards()) == 2
    (reject,) = [reject for _, reject in WorkFolder.open(folder).all_rejects()]
    assert (reject.source_uri, reject.source_index) == ("docs.jsonl", 3)
    counted = dataset.manifest["episodes"]
    assert (counted["read"], counted["written"], sum(counted["rejected"].values())) == (3, 2, 1)
    assert dataset.stats["train"]["text"]["fields"]["observation/text"]["characters"] == len(LINES[1] + LINES[3])
    assert 5 < own_beam_job.train_step(folder) < 20


def publish(
    folder: str, splits: dict[str, tuple[list[Record], int]], tokenizer: DatasetTokenizer, **given: Any
) -> None:
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        written = [
            pipeline | f"Of {split}" >> beam.Create(records) | split >> WriteShards(folder, "own", split, count)
            for split, (records, count) in splits.items()
        ]
        rejects = pipeline | "Rejects" >> beam.Create(given.pop("rejects", []))
        _ = (written | beam.Flatten(), rejects) | PublishDataset(folder, tokenizer, **given)


@pytest.fixture
def golden() -> tuple[list[Record], DatasetTokenizer]:
    """Return records of every kind; one episode has three segments."""
    dataset = Dataset.open(Path(__file__).parents[1] / "data/golden/schema_2/1.0.0")
    return list(dataset.records()), dataset.tokenizer


def test_what_is_published_is_a_dataset_like_any_other(golden: tuple[list[Record], DatasetTokenizer]) -> None:
    records, tokenizer = golden
    inputs = [{"uri": "made/by/hand", "bytes": 3, "sha256": "0" * 64}]
    splits = {"train": (records[:8], 2), "validation": (records[8:], 2)}
    publish("out/own/1.0.0", splits, tokenizer, inputs=inputs)
    publish("two/own/1.0.0", {split: (of[::-1], 2) for split, (of, _) in splits.items()}, tokenizer, inputs=inputs)
    assert tree("out") == tree("two")  # in whatever order the runner gives the records
    dataset = Dataset.open("out/own/1.0.0")
    assert list(verify(dataset.path, deep=True)) == [] and dataset.manifest["inputs"] == inputs
    found = {(r.metadata.episode_id, r.metadata.segment_index) for s in dataset.splits for r in dataset.records(s)}
    assert found == {(r.metadata.episode_id, r.metadata.segment_index) for r in records}
    assert dataset.find_episode("golden/arm-v1/1")[1].num_steps == 11
    arm = dataset.stats["train"]["golden/arm-v1"]
    assert (arm["episodes"], arm["steps"], arm["tokens"]) == (2, 12, 72) and "min" not in arm["fields"]["action"]
    assert batches([Share(dataset.path)], batch_size=1, sequence_length=64, prompt_share=0).batch(0)["tokens"].any()
    with pytest.raises(ValueError, match="is a complete dataset already"):
        PublishDataset("out/own/1.0.0", tokenizer)


def test_in_an_object_store_the_same_is_published(
    golden: tuple[list[Record], DatasetTokenizer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails leaves no manifest, is said as on a disk, and is mended by the same job given again."""
    records, tokenizer = golden
    splits = {"train": (records[:8], 2), "validation": (records[8:], 2)}
    publish("out/own/1.0.0", splits, tokenizer)
    monkeypatch.setenv("GATO_CACHE", str(tmp_path / "cache"))
    with s3_server(monkeypatch):
        out = StorePath("s3://bucket/out/own/1.0.0")
        reject = Reject.of("text:a", Candidate("a", "a", 1, lambda: None), "read", ValueError("broken"))
        with pytest.raises(Exception, match="1 of 9 episodes rejected"):
            publish(str(out), splits, tokenizer, rejects=[reject])
        assert not (out / "manifest.json").exists()
        upload(write_note(), str(out))
        with pytest.raises(Exception, match="notes.txt is not part of the dataset"):
            publish(str(out), splits, tokenizer)
        (out / "notes.txt").unlink()
        publish(str(out), splits, tokenizer)
        parent = out.parent  # where the folder is, too, that helps make the dataset
        found = {name: hashlib.sha256((parent / name).read_bytes()).hexdigest() for name in files_below(parent)}
        assert found == tree("out/own")
        assert list(verify(out, deep=True)) == []
        with pytest.raises(ValueError, match="is a complete dataset already"):
            PublishDataset(str(out), tokenizer)


def write_note() -> Path:
    Path("note").mkdir()
    Path("note/notes.txt").write_text("mine")
    return Path("note")


def test_what_makes_no_dataset_is_not_published(golden: tuple[list[Record], DatasetTokenizer]) -> None:
    records, tokenizer = golden
    reject = Reject.of("text:a", Candidate("a", "a", 1, lambda: None), "read", ValueError("broken"))
    texts = DatasetTokenizer.for_specs({"text": tokenizer.specs["text"]}, tokenizer.text)
    Path("out/stray/own/1.0.0").mkdir(parents=True)
    Path("out/stray/own/1.0.0/notes.txt").write_text("mine")
    train: Any = {"train": (records, 2)}
    for folder, splits, of, given, message in (
        ("out/stray/own/1.0.0", train, tokenizer, {}, "notes.txt is not part of the dataset"),
        ("out/other/1.0.0", train, tokenizer, {}, "must be DIR/own/VERSION, not out/other/1.0.0"),
        ("out/a/own/1.0.0", {**train, "test": (records, 1)}, tokenizer, {}, "the counts are 1 for test, 2 for train"),
        ("out/b/own/1.0.0", {**train, "test": (records[:1], 2)}, tokenizer, {}, "episode id 'one' stands twice"),
        ("out/c/own/1.0.0", {"train": (records[:-4], 2)}, tokenizer, {}, "golden/arm-v1/1' lacks a segment"),
        ("out/d/own/1.0.0", {"train": (records * 2, 2)}, tokenizer, {}, "must name one episode"),
        ("out/e/own/1.0.0", train, texts, {}, "no task"),
        ("out/f/own/1.0.0", train, tokenizer, {"rejects": [reject]}, "1 of 9 episodes rejected"),
        ("out/g/own/1.0.0", {"train": ([], 2)}, tokenizer, {}, "there is nothing to publish"),
    ):
        with pytest.raises(Exception, match=message):
            publish(folder, splits, of, **given)
        assert not Path(folder, "manifest.json").exists()
    Path("out/stray/own/1.0.0/notes.txt").unlink()
    publish("out/stray/own/1.0.0", train, tokenizer)  # mended, in the same folder
    assert list(verify(Path("out/stray/own/1.0.0"), deep=True)) == []


def test_shards_do_not_depend_on_the_order_of_records() -> None:
    source = open_source(write())
    tokenizer = DatasetTokenizer.for_specs(source.specs())
    made: list[Record] = []
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        tokenized = (pipeline | ReadEpisodes("text:docs.jsonl")).episodes | TokenizeEpisodes(tokenizer, "own")
        _ = tokenized.records | beam.Map(save)
    made = [Record.from_bytes(path.read_bytes()) for path in sorted(Path().glob("?" * 64))]
    assert len(made) == 3 and {record.metadata.dataset for record in made} == {"own"}
    for folder, records in (("one", made), ("two", made[::-1])):
        with beam.Pipeline(runner="FnApiRunner") as pipeline:
            _ = pipeline | beam.Create(records) | WriteShards(folder, "own", "train", 2)
    files = [sorted((path.name, path.read_bytes()) for path in Path(f).glob("own*")) for f in ("one", "two")]
    assert files[0] == files[1] and len(files[0]) == 2


def test_an_episode_that_cannot_be_tokenized_is_rejected() -> None:
    Path("pairs.jsonl").write_text(json.dumps({"image": "x.png", "caption": "broken"}) + "\n")
    Path("x.png").write_bytes(b"no picture")
    source = open_source("image-text:pairs.jsonl")
    tokenizer = DatasetTokenizer.for_specs(source.specs())
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        read = pipeline | ReadEpisodes("image-text:pairs.jsonl")
        tokenized = read.episodes | TokenizeEpisodes(tokenizer, "own")
        _ = tokenized[REJECTS] | beam.Map(lambda reject: Path(reject.stage).write_text(reject.message))
    assert Path("tokenize").read_text().startswith("observation/image: ")
