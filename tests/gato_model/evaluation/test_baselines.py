import gzip
import json
from types import SimpleNamespace

import gymnasium
import pytest

from gato_model.evaluation.baselines import Demonstrations, RandomPolicy
from gato_tokenize.storage.episode_list import COLUMNS

LINES = [
    {"task": "a", "agent_id": "bot", "segment_index": 0, "return": 4.0, "success": 1},
    {"task": "a", "agent_id": "bot", "segment_index": 1, "return": 4.0, "success": 1},  # the same episode goes on
    {"task": "a", "agent_id": "bot", "segment_index": 0, "return": 1.0, "success": 0},
    {"task": "a", "agent_id": "bot", "segment_index": 0, "return": None, "success": -1},
    {"task": "a", "agent_id": "random", "segment_index": 0, "return": 0.0, "success": 0},
    {"task": "b", "agent_id": "bot", "segment_index": 0, "return": None, "success": -1},
]


@pytest.fixture
def dataset(tmp_path):
    with gzip.open(tmp_path / "episodes.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(dict.fromkeys(COLUMNS) | line) + "\n" for line in LINES)
    return SimpleNamespace(path=tmp_path, tokenizer=SimpleNamespace(specs={"a": None, "b": None}))


def test_demonstrations_by_hand(dataset):
    assert Demonstrations.of(dataset, "a") == Demonstrations(3, 2.5, 0.5)
    assert Demonstrations.of(dataset, "b") == Demonstrations(1, None, None)


def test_a_task_without_demonstrations(dataset):
    with pytest.raises(ValueError, match="no demonstrations of c; its tasks: a, b"):
        Demonstrations.of(dataset, "c")


def test_random_actions_follow_a_rows_seed():
    policy = RandomPolicy(gymnasium.spaces.Discrete(1000), rows=2)
    policy.reset([0, 1], [7, 8])
    first = [policy.act_many([None], [0])[0] for _ in range(5)]
    policy.reset([1], [7])
    assert [policy.act_many([None], [1])[0] for _ in range(5)] == first
    assert len(set(first)) > 1
