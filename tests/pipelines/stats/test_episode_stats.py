"""Statistics of episodes, and merging them in any grouping."""

import copy
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gato_tokenize import (
    ContinuousSpec,
    DiscreteSpec,
    Episode,
    EpisodeMetadata,
    EpisodeSpec,
    EpisodeTokenizer,
    ImageSpec,
    TextSpec,
)
from pipelines.stats.episode_stats import as_json, document_stats, episode_stats, merge_stats, plain_counts

SPEC = EpisodeSpec(
    {"eye": ImageSpec((16, 32, 3)), "order": TextSpec(), "joint": ContinuousSpec(3), "way": DiscreteSpec(9, low=-4)},
    ContinuousSpec(2),
)
TOKENIZER = EpisodeTokenizer(SPEC)


def stats_of(seed: int) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    steps = int(generator.integers(1, 6))
    observation = {
        "eye": np.repeat(generator.integers(0, 256, (1, 16, 32, 3), dtype=np.uint8), steps, 0),
        "order": ["go"] * steps,
        "joint": generator.normal(0, 300, (steps, 3)),
        "way": generator.integers(-4, 5, steps),
    }
    action = generator.normal(0, 1, (steps, 2))
    episode = Episode(SPEC, observation, action, EpisodeMetadata(truncated=bool(seed % 2)), {"what": 1})
    return episode_stats(episode, TOKENIZER, TOKENIZER.encode(episode))


def test_an_episode_by_hand() -> None:
    observation = {
        "eye": np.zeros((2, 16, 32, 3), np.uint8),
        "order": ["go", ""],
        "joint": [[0, 1, -5], [0, 300, 0]],
        "way": [-4, 4],
    }
    episode = Episode(SPEC, observation, [[0, 1], [0.5, -1]], EpisodeMetadata(terminated=True), {"left out": 1})
    sequence = TOKENIZER.encode(episode)
    found = as_json(episode_stats(episode, TOKENIZER, sequence))
    assert json.loads(json.dumps(found)) == found
    counts = {name: found[name] for name in ("episodes", "steps", "tokens", "loss_tokens", "unknown_pieces", "notes")}
    words = len(TOKENIZER.text.encode("go"))
    assert counts == {
        "episodes": 1,
        "steps": 2,
        "tokens": 2 * (2 + 3 + 1 + 1 + 2) + words,
        "loss_tokens": words + 4,
        "unknown_pieces": 0,
        "notes": {"left out": 1},
    }
    assert found["tokens_by_kind"] == {
        **{"text": words, "patch": 4, "continuous": 6, "discrete": 2, "separator": 2, "continuous_action": 4},
    }
    fields = found["fields"]
    eye = {"images": 2, "resized": 0, "alpha_dropped": 0, "repeated": 1, "longest_run": 2}
    assert fields["observation/eye"] == eye
    assert fields["observation/order"] == {"texts": 2, "characters": 2, "empty": 1}
    assert fields["observation/way"] == {"values": 2, "min": -4, "max": 4}
    joint = {"values": 6, "clipped": 1, "min": -5.0, "max": 300.0, "bins_used": 4}
    assert plain_counts(fields["observation/joint"]) == joint
    assert fields["observation/joint"]["bins"] == {"198": 1, "512": 3, "744": 1, "1023": 1}
    assert fields["observation/joint"]["dimensions"]["clipped"] == [0, 1, 0]
    assert fields["action"]["bins"] == {"0": 1, "512": 1, "768": 1, "1023": 1}
    assert found["lints"] == {
        "black images": 2,
        "frames equal to the one before": 1,
        "values beyond the bins' reach": 1,
        "empty texts": 1,
    }


def test_a_document_has_no_frames_to_repeat() -> None:
    spec = EpisodeSpec.caption(ImageSpec())
    tokenizer = EpisodeTokenizer(spec)
    episode = Episode(spec, {"image": [np.ones((16, 16, 3), np.uint8)], "caption": ["a"]})
    fields = episode_stats(episode, tokenizer, tokenizer.encode(episode))["fields"]
    assert fields["observation/image"] == {"images": 1, "resized": 0, "alpha_dropped": 0}


def test_merging_by_hand() -> None:
    total = {"n": 1, "min": 2, "max": 2, "bins": {"1": 4}, "dimensions": {"min": [0, 5], "error_max": [1, 1]}}
    more = {"n": 2, "min": 1, "max": 3, "bins": {"1": 1, "7": 1}, "dimensions": {"min": [3, 3], "error_max": [0, 2]}}
    expected = {
        "n": 3,
        "min": 1,
        "max": 3,
        "bins": {"1": 5, "7": 1},
        "dimensions": {"min": [0, 3], "error_max": [1, 2]},
    }
    assert merge_stats(total, copy.deepcopy(more)) == expected
    assert merge_stats({"longest_run": 4}, {"longest_run": 2}) == {"longest_run": 4}
    with pytest.raises(ValueError, match="shorter"):
        merge_stats({"min": [1, 2]}, {"min": [1]})


def approximately(stats: Any) -> Any:
    """Without what the order of an addition of floats may change."""
    if isinstance(stats, dict):
        return {name: approximately(value) for name, value in stats.items()}
    return [float(f"{x:.9g}") for x in stats] if isinstance(stats, list) else stats


@given(st.lists(st.integers(0, 99), min_size=1, max_size=6), st.data())
def test_shards_merged_in_any_grouping_and_order(seeds: list[int], data: st.DataObject) -> None:
    expected: dict[str, Any] = {}
    for seed in seeds:
        merge_stats(expected, stats_of(seed))
    cut = data.draw(st.integers(0, len(seeds)))
    parts = [seeds[:cut], seeds[cut:]]
    total: dict[str, Any] = {}
    for part in data.draw(st.permutations(parts)):
        shard: dict[str, Any] = {}
        for seed in part:
            merge_stats(shard, stats_of(seed))
        merge_stats(total, json.loads(json.dumps(as_json(shard))))
    assert approximately(total) == approximately(as_json(expected))


def test_the_same_episodes_in_the_same_order_give_the_same_bytes() -> None:
    made = [json.dumps(as_json(merge_stats(stats_of(1), stats_of(2))), sort_keys=True) for _ in range(2)]
    assert made[0] == made[1]


def test_a_task_may_have_the_name_of_a_statistic() -> None:
    stats = {"bins": stats_of(0), "min": stats_of(1), "dimensions": stats_of(2)}
    json.dumps(as_json(stats))
    merged = merge_stats(as_json(stats), as_json(stats))
    assert [merged[task]["episodes"] for task in stats] == [2, 2, 2]


@given(st.lists(st.sampled_from(["", "go left", "\U0001f600", "a b c"]), min_size=1, max_size=6), st.booleans())
def test_documents_counted_together_are_those_counted_one_by_one(texts: list[str], noted: bool) -> None:
    spec = EpisodeSpec.document()
    tokenizer = EpisodeTokenizer(spec, text=TOKENIZER.text)
    notes = {"left out": 2} if noted else {}
    episodes = [Episode(spec, {"text": [text]}, notes=notes) for text in texts]
    sequences = tokenizer.encode_batch(episodes)
    one_by_one: dict[str, Any] = {}
    for episode, sequence in zip(episodes, sequences, strict=True):
        merge_stats(one_by_one, episode_stats(episode, tokenizer, sequence))
    assert document_stats(episodes, tokenizer, sequences) == one_by_one
