"""The public Beam steps: the example runs, rejects come out, bytes do not depend on the order of elements."""

import json
from pathlib import Path

import apache_beam as beam
import pytest

from examples import own_beam_job
from gato_tokenize import Record, read_records
from gato_tokenize.storage.dataset import DatasetTokenizer
from gato_tokenize.storage.segments import content_hash
from pipelines.beam_steps import REJECTS, ReadEpisodes, TokenizeEpisodes, WriteShards
from pipelines.sources import open_source

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


def read_back(folder: Path) -> list[Record]:
    return [record for path in sorted(folder.glob("own-train*-of-*")) for record in read_records(path)]


def test_the_example() -> None:
    own_beam_job.run(write(), Path("out"))
    records = read_back(Path("out"))
    tokenizer = DatasetTokenizer.load(Path("out"))
    texts = {tokenizer.task("text").decode(record.sequence).fields["observation/text"][0] for record in records}
    assert texts == {LINES[1], LINES[3]}
    (path,) = Path("out").glob("rejects.jsonl-*")
    (reject,) = [json.loads(line) for line in path.read_text().splitlines()]
    assert reject["source_uri"] == "docs.jsonl" and reject["source_index"] == 3
    summaries = [
        json.loads(line) for path in Path("out").glob("shards.jsonl-*") for line in path.read_text().splitlines()
    ]
    assert sum(summary["records"] for summary in summaries) == 2 and len(summaries) == 2


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
