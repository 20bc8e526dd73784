"""The source `python`: the contract with dicts, Episodes by hand, and functions that fail or change their mind."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gato_tokenize import Dataset, Episode
from pipelines.__main__ import main
from pipelines.sources import open_source
from pipelines.sources.contract import EpisodeSourceContract
from pipelines.sources.errors import SourceError
from pipelines.sources.reading import Reject, read_partition
from pipelines.sources.source import Source

MODULE = '''
import numpy as np
from pathlib import Path
from gato_tokenize import DiscreteSpec, Episode, EpisodeMetadata, EpisodeSpec

SPEC = EpisodeSpec({"a": DiscreteSpec(9), "b": DiscreteSpec(9)}, DiscreteSpec(9))
number = 3
calls = 0

def dicts(argument):
    """A last observation that no action follows, in lists of timesteps."""
    for i in range(int(argument)):
        steps = [{"joints": np.full(2, i / 8), "eye": np.full((16, 16, 3), t, np.uint8)} for t in range(3)]
        yield {"episode_id": f"dict-{i}", "observations": steps, "actions": [np.zeros(2), np.ones(2)],
               "rewards": [0.0, 1.0], "instruction": "lift", "success": 1}

def one(i, **changes):
    return {"observations": {"a": [i, 2]}, "actions": [0.5, 0.25]} | changes

def bad():
    yield one(0)
    yield one(1, actions=[0.5, float("nan")])
    yield one(2, observations=[{"a": 1}, {"b": 2}])
    yield one(3, actoins=[1, 2])
    yield "no episode"
    yield one(5, observations={"a": [[1], [1, 2]]})
    yield one(6)

def episodes():
    global calls
    calls += 1
    for i in range(5):
        metadata = EpisodeMetadata(f"episode-{i}", task="odd" if i % 2 else "", success=1)
        yield Episode(SPEC, [{"a": i, "b": 1}, {"a": i, "b": 2}], [1, 2], metadata)

def failing():
    yield one(0)
    yield one(1)
    raise KeyError("lost")

def twice():
    yield one(0, episode_id="same")
    yield one(1, episode_id="same")

def file(path):
    for line in Path(path).read_text().split():
        yield one(0, episode_id=line)

def nothing():
    return iter(())

def broken():
    raise KeyError("lost")

def both():
    yield one(0)
    yield Episode(SPEC, {"a": [1], "b": [2]}, [1])
'''


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_reader.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("my_reader", None)
    open_source.cache_clear()
    return tmp_path


@pytest.mark.usefixtures("here")
class TestContract(EpisodeSourceContract):
    def make(self, folder: Path) -> str:
        return "python:my_reader:dicts:3"


def read(source: Source, partitions: list[dict[str, Any]] | None = None) -> list[Any]:
    return [r for p in partitions or source.partitions() for _, r in read_partition(source, p)]


def cut(source: Source, each: int) -> list[dict[str, Any]]:
    """The one partition of a small input in partitions of `each` episodes."""
    (whole,) = source.partitions()
    parts = []
    for first in range(0, whole["number"], each):
        number = min(each, whole["number"] - first)
        parts.append({"first": first, "number": number, "ids": whole["ids"][8 * first : 8 * (first + number)]})
    return [*parts[:-1], {**parts[-1], "last": True}]


def test_dicts_by_hand(here: Path) -> None:
    source = open_source("python:my_reader:dicts:2")
    (task,) = source.specs()
    assert task == "my_reader:dicts"
    assert source.specs()[task].describe().splitlines() == [
        "observation/eye          image, uint8[16, 16, 3]",
        "observation/instruction  text",
        "observation/joints       continuous, float32[2]",
        "action                   continuous, float32[2]",
    ]
    first, second = read(source)
    assert second.fields["observation/joints"].tolist() == [[0.125, 0.125]] * 2
    assert second.fields["action"].tolist() == [[0, 0], [1, 1]]
    assert second.rewards.tolist() == [0, 1] and second.notes == {"final observation left out": 1}
    named = second.metadata
    assert (named.episode_id, named.instruction, named.success, named.return_) == ("dict-1", "lift", 1, 1.0)
    assert (named.domain, named.source_uri, named.source_index) == ("my_reader", "python:my_reader:dicts:2", 1)


def test_episodes_keep_their_specs_and_tasks(here: Path) -> None:
    source = open_source("python:my_reader:episodes")
    assert list(source.specs()) == ["my_reader:episodes", "odd"]
    found = read(source)
    assert [(one.metadata.episode_id, one.metadata.task) for one in found[:2]] == [
        ("episode-0", "my_reader:episodes"),
        ("episode-1", "odd"),
    ]
    assert all(isinstance(one, Episode) and one.metadata.success == 1 for one in found)
    with pytest.raises(SourceError, match="yields Episodes, which have a spec already: options are for dicts"):
        open_source("python:my_reader:episodes?max_steps=1").partitions()


def test_a_bad_dict_costs_itself(here: Path) -> None:
    found = read(open_source("python:my_reader:bad"))
    assert [type(one) for one in found] == [Episode, *[Reject] * 5, Episode]
    for reject, message in zip(
        found[1:6],
        [
            "action: nan at index [1] is not finite",
            "observation[1]: missing ['a']; unknown ['b']",
            "unknown keys ['actoins']; known: ['actions',",
            "expected an Episode or a dict, got str",
            "observation/a[1]: shape [2], and that of [0] is [1]",
        ],
        strict=True,
    ):
        assert message in reject.message


def test_partitions_in_order_call_the_function_once(here: Path) -> None:
    source = open_source("python:my_reader:episodes")
    whole, parts = read(source), cut(source, 2)
    calls = sys.modules["my_reader"]
    before = calls.calls  # type: ignore[attr-defined]
    assert [one.metadata for one in read(source, parts)] == [one.metadata for one in whole]
    assert calls.calls == before + 1  # type: ignore[attr-defined]
    backwards = [one.metadata.episode_id for part in reversed(parts) for one in read(source, [part])]
    assert backwards == [f"episode-{i}" for i in (4, 2, 3, 0, 1)]


def test_a_function_that_fails_ends_its_partition_and_is_named(here: Path) -> None:
    source = open_source("python:my_reader:failing")
    assert "count" not in source.partitions()[0]
    *fine, lost = read(source)
    assert len(fine) == 2 and lost.ends_partition and "lost" in lost.message and lost.exception == "KeyError"


@pytest.mark.parametrize(
    ("now", "message"),
    [
        ("a b", "yielded 2 episodes, and more when it was planned: it must yield the same"),
        ("a c b", "yielded 'c' as episode 1, and another when it was planned"),
        ("a b c d", "yielded more than 3 episodes, which it did not when planned"),
    ],
)
def test_a_function_that_yields_others_than_planned_is_refused(here: Path, now: str, message: str) -> None:
    (here / "names").write_text("a b c")
    source = open_source("python:my_reader:file:names")
    partitions = source.partitions()
    assert all(isinstance(one, Episode) for one in read(source, partitions))
    (here / "names").write_text(now)
    *fine, lost = read(source, partitions)
    assert all(isinstance(one, Episode) for one in fine) and message in lost.message


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("python:my_reader", "names no function: write python:MODULE:FUNCTION"),
        ("python:no_reader:dicts", "there is no module 'no_reader'"),
        ("python:my_reader:dict", "dict is not in the module my_reader"),
        ("python:my_reader:number", "number is not a function"),
        ("python:my_reader:nothing", "yields no episodes$"),
        ("python:my_reader:broken", "yields no episodes: KeyError: 'lost'"),
        ("python:my_reader:dicts", "yields no episodes: TypeError: dicts.. missing 1 required positional argument"),
        ("python:my_reader:twice", "episodes 0 and 1 are both called 'same'"),
        ("python:my_reader:both", "yields dicts and Episodes of one task, 'my_reader:both'"),
    ],
)
def test_what_cannot_be_planned_is_refused(here: Path, source: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(source).partitions()


def test_a_changed_module_is_another_plan(here: Path) -> None:
    inputs = open_source("python:my_reader:dicts:3").inputs()
    (here / "my_reader.py").write_text(MODULE + "\n# changed\n")
    assert open_source("python:my_reader:dicts:3").inputs() != inputs


def test_a_conversion(here: Path) -> None:
    assert main(["convert", "python:my_reader:dicts:4?fields=-observation/eye", "--out", "out/toy/1.0.0"]) == 0
    records = list(Dataset.open("out/toy/1.0.0").records())
    assert [record.metadata.episode_id for record in records] == [f"dict-{i}" for i in range(4)]
    assert np.isclose(records[3].metadata.return_, 1)
