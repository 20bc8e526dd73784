import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gato_model.data.episode_table import EpisodeTable, expert_return
from gato_tokenize import Dataset
from gato_tokenize.storage.dataset import DatasetTokenizer
from gato_tokenize.storage.episode_list import COLUMNS

NAN = float("nan")


def line(task: str, episode: str, returned: float | None, **more: Any) -> dict[str, Any]:
    base = {"task": task, "episode_id": episode, "return": returned, "agent_id": "bot", "tokens": 10, "steps": 2}
    return dict.fromkeys(COLUMNS) | base | {"segment_index": 0, "num_segments": 1} | more


def dataset(folder: Path, lines: list[dict[str, Any]], **changed: int) -> Dataset:
    """A folder with these lines in its episode list, and a manifest that counts them."""
    offset = 0
    for number, entry in enumerate(lines):
        entry.update(shard="toy-train.tfrecord-00000-of-00001", record=number, offset=offset, bytes=100)
        offset += 100
    other = line("other", "v", None, shard="toy-validation.tfrecord-00000-of-00001", record=0, offset=0, bytes=9)
    with gzip.open(folder / "episodes.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(entry) + "\n" for entry in [*lines, other])
    counted = {"records": len(lines), "tokens": sum(entry["tokens"] for entry in lines)} | changed
    shards = [{"file": "toy-train.tfrecord-00000-of-00001", **counted}]
    return Dataset(folder, {"splits": {"train": {"shards": shards}}}, DatasetTokenizer({}))


def test_a_table_by_hand(tmp_path: Path) -> None:
    """Two episodes of one task, the second in two records; one of another agent; one of another task."""
    lines = [
        line("a", "1", 3.0),
        line("a", "2", 5.0, segment_index=0, num_segments=2, tokens=30),
        line("a", "2", 5.0, segment_index=1, num_segments=2, tokens=7, steps=1),
        line("a", "3", None, agent_id="other"),
        line("b", "4", -1.0),
    ]
    table = EpisodeTable.read(dataset(tmp_path, lines))
    assert len(table) == 5 and table.tokens.tolist() == [10, 30, 7, 10, 10]
    assert table.tasks == ("a", "b") and table.groups == (("a", "bot"), ("a", "other"), ("b", "bot"))
    wanted = {
        "offset": [0, 100, 200, 300, 400],
        "record": [0, 1, 2, 3, 4],
        "shard": [0] * 5,
        "bytes": [100] * 5,
        "steps": [2, 2, 1, 2, 2],
        "task": [0, 0, 0, 0, 1],
        "group": [0, 0, 0, 1, 2],
        "episode": [0, 1, 1, 2, 3],
        "tokens": [10, 30, 7, 10, 10],
    }
    assert {name: column.tolist() for name, column in table.columns.items()} == wanted
    assert table.episode_starts.tolist() == [0, 1, 3, 4, 5]
    np.testing.assert_array_equal(table.returns, [3.0, 5.0, NAN, -1.0])


def test_a_table_takes_the_memory_of_its_numbers(tmp_path: Path) -> None:
    """Lines that were all read first would take more than a kilobyte each."""
    made = dataset(tmp_path, [line("task", f"episode {number}", 1.0) for number in range(4000)])
    tracemalloc.start()
    table = EpisodeTable.read(made)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(table) == 4000 and peak < 4000 * 400


def test_the_experts_return() -> None:
    """The expert's return of 30 returns is the best mean of three in a row."""
    returns = np.zeros(30)
    returns[[4, 10, 11, 12, 20]] = [9, 4, 5, 6, 9]
    assert expert_return(returns) == 5.0
    assert expert_return(np.array([1.0, 7.0, 2.0])) == 7.0  # W is at least 1
    many = np.concatenate([np.full(500, 100.0), np.zeros(19_500)])
    assert expert_return(many) == 50.0  # and at most 1000
    assert expert_return(np.array([-3.0, -2.0])) == -2.0


def test_episodes_below_the_bar_are_left_out_and_counted(tmp_path: Path) -> None:
    lines = [line("a", str(number), value) for number, value in enumerate([10.0, 7.9, 8.0, None])]
    lines += [line("b", f"b{number}", value) for number, value in enumerate([-100.0, -120.0, -121.0])]
    lines.insert(2, line("a", "s", 1.0, num_segments=2))
    lines.insert(3, line("a", "s", 1.0, num_segments=2, segment_index=1))
    table, left_out = EpisodeTable.read(dataset(tmp_path, lines)).with_expert_share(0.8)
    assert left_out == {"a": 2, "b": 1}  # b: the bar is 20% below -100
    np.testing.assert_array_equal(table.returns, [10, 8, NAN, -100, -120])
    assert table.columns["record"].tolist() == [0, 4, 5, 6, 7]
    assert table.columns["episode"].tolist() == [0, 1, 2, 3, 4]
    assert table.expert_returns() == {"a": 10.0, "b": -100.0}


def test_a_share_of_nothing_keeps_all_but_what_is_below_zero(tmp_path: Path) -> None:
    lines = [line("a", str(number), value) for number, value in enumerate([2.0, 0.0, -1.0])]
    table, left_out = EpisodeTable.read(dataset(tmp_path, lines)).with_expert_share(0.0)
    assert len(table) == 2 and left_out == {"a": 1}


@pytest.mark.parametrize(
    ("lines", "changed", "message"),
    [
        ([line("a", "1", None)], {"records": 2}, "lists .*'records': 1.* the manifest .*'records': 2"),
        ([line("a", "1", None)], {"tokens": 11}, "the manifest .*'tokens': 11"),
        ([line("a", "1", None, tokens=0)], {}, "records without tokens"),
        ([line("a", "1", None, num_segments=2)], {}, "without all their segments"),
        ([line("a", "1", None, segment_index=1, num_segments=2)], {}, "without all their segments"),
        ([line("a", "1", None, tokens="ten")], {"tokens": 0}, "a line is not one of an episode list"),
        ([line("a", "1", None, steps=None)], {}, "a line is not one of an episode list"),
    ],
)
def test_lists_that_do_not_add_up(tmp_path: Path, lines: Any, changed: Any, message: str) -> None:
    if lines[0]["tokens"] == "ten":
        changed = {"tokens": 10}
        written = dataset(tmp_path, [line("a", "1", None)], **changed)
        with gzip.open(tmp_path / "episodes.jsonl.gz", "wt") as file:
            file.write(json.dumps(lines[0] | {"shard": "toy-train.tfrecord-00000-of-00001"}) + "\n")
    else:
        written = dataset(tmp_path, lines, **changed)
    with pytest.raises(ValueError, match=message):
        EpisodeTable.read(written)


@pytest.mark.parametrize("damage", ["cut", "flip", "text", "list"])
def test_a_damaged_list_is_named(tmp_path: Path, damage: str) -> None:
    written = dataset(tmp_path, [line("a", str(number), None) for number in range(50)])
    path = tmp_path / "episodes.jsonl.gz"
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
    new = {"cut": data[:-30], "flip": data, "text": b"{", "list": gzip.compress(b"[1]\n")}[damage]
    path.write_bytes(new)
    with pytest.raises(ValueError, match=r"episodes\.jsonl\.gz"):
        EpisodeTable.read(written)
