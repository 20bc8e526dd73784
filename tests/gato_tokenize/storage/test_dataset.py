"""A dataset as a sequence of its episodes."""

import gzip
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from conversions import convert

from gato_tokenize import Dataset, Episode
from gato_tokenize.storage.episode_list import EPISODES, EpisodeHeads


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Seven pieces of text in two splits, and three episodes, one of them of two records."""
    folder = tmp_path_factory.mktemp("sequence")
    lines = "".join(json.dumps({"text": f"number {number}", "id": f"n{number}"}) + "\n" for number in range(7))
    (folder / "a.jsonl").write_text(lines)
    lander = "rollouts:LunarLander-v3?policy=random&episodes=3&max_steps=30"
    out = folder / "mixed/1.0.0"
    assert convert(f"text:{folder}/a.jsonl?id=id", lander, "--validation-fraction", "0.4", out=str(out)) == 0
    return Dataset.open(out)


def same(one: Episode, other: Episode) -> bool:
    def values(episode: Episode) -> list[object]:
        return [value if isinstance(value, list) else np.asarray(value).tolist() for value in episode.fields.values()]

    return one.metadata == other.metadata and values(one) == values(other)


def test_indexing_iterating_and_counting_agree(dataset: Dataset) -> None:
    episodes = list(dataset)
    assert len(episodes) == len(dataset) == 10
    assert {split: len(list(dataset.episodes(split))) for split in dataset.splits} != {"train": 10}
    for number, episode in enumerate(episodes):
        assert same(dataset[number], episode) and same(dataset[number - 10], episode)
        assert same(dataset[episode.metadata.episode_id], episode)
        assert same(dataset.find_episode(str(number))[1], episode)


def test_a_slice_is_a_view(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [episode.metadata.episode_id for episode in dataset]
    part = dataset[7:1:-2]
    assert [episode.metadata.episode_id for episode in part] == ids[7:1:-2]
    assert part[-1].metadata.episode_id == ids[7:1:-2][-1] and len(part[1:]) == 2
    assert part[1:][0].metadata.episode_id == ids[5]
    assert len(pickle.loads(pickle.dumps(part))) == 3
    monkeypatch.setattr(Dataset, "_whole", None)
    assert len(dataset[2:100]) == 8


def test_what_is_not_there(dataset: Dataset) -> None:
    for number in 10, -11:
        with pytest.raises(IndexError):
            dataset[number]
        with pytest.raises(IndexError):
            dataset[:][number]
    with pytest.raises(KeyError, match="has no episode 'n99'"):
        dataset["n99"]


def test_equal_datasets_are_equal_and_a_repr_is_short(dataset: Dataset) -> None:
    assert Dataset.open(dataset.path) == dataset
    assert repr(dataset).startswith(f"<Dataset {dataset.path}: 10 episodes of 2 tasks; records: train ")


def written_list(path: Path, line: bytes, ids: list[str]) -> Path:
    """Write an episode list with a line for each id, all else as in `line`."""
    lines = [json.dumps({**json.loads(line), "episode_id": one, "record": n}) for n, one in enumerate(ids)]
    path.write_bytes(gzip.compress("\n".join([*lines, ""]).encode()))
    return path


@pytest.fixture
def line(dataset: Dataset) -> bytes:
    return gzip.decompress((dataset.path / EPISODES).read_bytes()).splitlines()[0]


def test_an_episode_is_found_by_any_of_many_ids(tmp_path: Path, line: bytes) -> None:
    ids = [f"{number * 7919 % 1000}/\u00e9" for number in range(1000)]
    heads = EpisodeHeads.read(written_list(tmp_path / EPISODES, line, ids))
    assert [heads.number(one) for one in ids] == list(range(1000))
    assert heads.place(7)[1] == 7
    assert [heads.number(one) for one in ("", "0", "1000/\u00e9", "0/e", "\ud800")] == [None] * 5


def test_an_empty_list_has_no_episode(tmp_path: Path, line: bytes) -> None:
    heads = EpisodeHeads.read(written_list(tmp_path / EPISODES, line, []))
    assert heads.number("one") is None and heads.counts == {}


def test_an_id_that_stands_twice_is_damage(tmp_path: Path, line: bytes) -> None:
    path = written_list(tmp_path / EPISODES, line, ["one", "two", "three", "two", "four"])
    with pytest.raises(ValueError, match="is damaged: episode 'two' stands twice"):
        EpisodeHeads.read(path)
