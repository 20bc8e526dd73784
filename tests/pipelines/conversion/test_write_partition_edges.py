"""Numbers in a partition's files that the other tests do not compare: found by changes that no other test noticed."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from conversions import convert, rejects, slow_source, write_documents

from gato_tokenize import Dataset
from pipelines.sources import open_source

FOLDER = Path("out/toy/1.0.0")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_source.cache_clear()


def test_the_files_of_a_dataset_count_the_same() -> None:
    """The manifest and the list of episodes agree."""
    assert convert(write_documents(), slow_source(2), "--validation-fraction", "0.3") == 0
    text = gzip.decompress((FOLDER / "episodes.jsonl.gz").read_bytes()).decode()
    lines = [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]
    seen = 0
    for split in Dataset.open(FOLDER).manifest["splits"].values():
        for shard in split["shards"]:
            listed = [line for line in lines if line["shard"] == shard["file"]]
            assert shard["records"] == len(listed)
            assert shard["tokens"] == sum(line["tokens"] for line in listed)
            assert shard["steps"] == sum(line["steps"] for line in listed)
            ids = [line["episode_id"] for line in listed]
            assert [shard["first_id"], shard.get("last_id")] == ([ids[0], ids[-1]] if ids else [None, None])
            seen += len(listed)
    assert seen == len(lines) > 60


def test_an_episode_without_a_return_has_null_for_it() -> None:
    assert convert(write_documents(3), slow_source(2)) == 0
    text = gzip.decompress((FOLDER / "episodes.jsonl.gz").read_bytes()).decode()
    listed = {line["episode_id"]: line["return"] for line in map(json.loads, text.splitlines())}
    expected = {record.metadata.episode_id: record.metadata.return_ for record in Dataset.open(FOLDER).records()}
    assert {name: value if value is None else np.float32(value) for name, value in listed.items()} == {
        name: None if np.isnan(value) else np.float32(value) for name, value in expected.items()
    }
    assert sorted(value is None for value in listed.values()) == [False] * 2 + [True] * 3


def test_without_rejects_there_is_no_file_of_them() -> None:
    assert convert(write_documents()) == 0
    assert rejects() == [] and not list(Path("out").rglob("rejects/*"))
