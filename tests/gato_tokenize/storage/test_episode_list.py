"""The episode list: a line by hand, what is read back, damage."""

import gzip
import json

import pytest

from gato_tokenize import ContinuousSpec, Episode, EpisodeMetadata, EpisodeSpec, EpisodeTokenizer, Record
from gato_tokenize.storage.episode_list import COLUMNS, EPISODES, episode_line, line_bytes, read_lines


def record(**metadata):
    spec = EpisodeSpec({"v": ContinuousSpec(2)}, ContinuousSpec(1))
    sequence = EpisodeTokenizer(spec).encode(Episode(spec, {"v": [[0.0, 1.0]] * 2}, [[0.5]] * 2))
    return Record(sequence, EpisodeMetadata("id-1", task="toy", **metadata))


def write(path, *texts):
    path.write_bytes(gzip.compress(b"".join(texts)))
    return path


def test_a_line_by_hand():
    line = episode_line(
        record(success=1, return_=2.5, agent_id="bot"), "toy-train.tfrecord-00000-of-00001", 3, (10, 90)
    )
    assert set(line) == set(COLUMNS)
    place = {"shard": "toy-train.tfrecord-00000-of-00001", "record": 3, "offset": 10, "bytes": 90}
    counts = {"tokens": 8, "steps": 2, "segment_index": 0, "num_segments": 1, "success": 1, "return": 2.5}
    names = {"episode_id": "id-1", "task": "toy", "agent_id": "bot", "source_uri": "", "source_index": 0}
    digest = "c43d27cb074ad30ac6157b1009d7550e3a59035a076d3dafb11eb9b68f8c66e7"  # the record is the whole episode
    assert line == {**place, **counts, **names, "content_hash": digest}


def test_an_unknown_return_is_null():
    assert b'"return": null' in line_bytes(episode_line(record(), "s", 0, (0, 1)))


def test_lines_are_read_back(tmp_path):
    lines = [episode_line(record(return_=1.0), "s", number, (0, 1)) for number in range(3)]
    members = [gzip.compress(line_bytes(line)) for line in lines]  # of several partitions, joined as files
    (tmp_path / EPISODES).write_bytes(b"".join(members))
    assert list(read_lines(tmp_path / EPISODES)) == lines


@pytest.mark.parametrize("text", [b"{", b"[1]\n", b"\xff\n", b'{"task": "t"}\n'])
def test_what_is_no_line_is_damage(tmp_path, text):
    path = write(tmp_path / EPISODES, text)
    with pytest.raises(ValueError, match=rf"{EPISODES} is damaged: .*; `gato-data verify {tmp_path}` reports more"):
        list(read_lines(path))


def test_a_cut_list_gives_its_lines_before_it_fails(tmp_path):
    path = write(tmp_path / "part-00000.episodes.jsonl.gz", line_bytes(episode_line(record(), "s", 0, (0, 1))))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match=r"is damaged: Compressed file ended") as caught:
        list(read_lines(path))
    assert "verify" not in str(caught.value)  # a list of a partition is no part of a dataset


def test_every_column_is_needed(tmp_path):
    line = episode_line(record(return_=1.0), "s", 0, (0, 1))
    for name in COLUMNS:
        text = json.dumps({key: value for key, value in line.items() if key != name}).encode()
        with pytest.raises(ValueError, match="not one of an episode list"):
            list(read_lines(write(tmp_path / EPISODES, text)))
