"""The id ranges: the paper's by hand, the canonical JSON and its hash, refusals."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gato_tokenize.vocabulary import Vocabulary

vocabularies = st.builds(
    Vocabulary,
    text_size=st.integers(64, 10**6),
    discrete_size=st.integers(1, 64),
    continuous_bins=st.integers(1, 10**6),
    disjoint=st.booleans(),
    mu=st.floats(1e-3, 1e6),
    m=st.integers(1, 10**6),
)


def test_the_papers_layout():
    v = Vocabulary()
    assert (v.text, v.discrete, v.continuous) == (range(32000), range(1024), range(32000, 33024))
    assert (v.separator, v.size) == (33024, 33025)


def test_the_disjoint_layout_moves_discrete_values_after_the_separator_and_nothing_else():
    v = Vocabulary(disjoint=True)
    assert (v.text, v.continuous, v.separator) == (range(32000), range(32000, 33024), 33024)
    assert (v.discrete, v.size) == (range(33025, 34049), 34049)


@given(vocabularies)
def test_a_disjoint_layout_covers_every_row_once(v):
    v = dataclasses.replace(v, disjoint=True)
    assert [*v.text, *v.continuous, v.separator, *v.discrete] == list(range(v.size)) if v.size < 5000 else True
    assert len(v.text) + len(v.continuous) + 1 + len(v.discrete) == v.size == v.discrete.stop


@pytest.mark.parametrize(("ids", "message"), [([0, -1], "id -1 at index 1"), ([33025], "id 33025 at index 0")])
def test_ids_outside_are_named(ids, message):
    with pytest.raises(ValueError, match=rf"{message} is outside the vocabulary \[0, 33025\)"):
        Vocabulary().check(np.array(ids))


def test_the_json_by_hand():
    text = '{"continuous_bins":1024,"discrete_size":1024,"disjoint":false,"m":256.0,"mu":100.0,"text_size":32000}'
    assert Vocabulary().to_json() == text
    assert Vocabulary.from_json(text) == Vocabulary()
    assert Vocabulary.from_json(text.replace("256.0", "256")).to_json() == text


def test_the_hash_is_known():
    """It names datasets and models: should it change, none made before can be read with those made after."""
    assert Vocabulary().sha256 == "34d547d3193f5f84ef115e2097a7af04b09529bc6023367266390ced7a187249"


@given(vocabularies)
def test_json_round_trip(v):
    assert Vocabulary.from_json(v.to_json()) == v


@given(vocabularies, vocabularies)
def test_equal_vocabularies_and_no_others_have_equal_hashes(one, two):
    assert (one == two) == (one.sha256 == two.sha256)


@pytest.mark.parametrize(
    "change",
    [
        {"text_size": 31999},
        {"discrete_size": 1023},
        {"continuous_bins": 1023},
        {"disjoint": True},
        {"mu": 99},
        {"m": 255},
    ],
)
def test_any_change_that_alters_an_id_changes_the_hash(change):
    assert Vocabulary(**change).sha256 != Vocabulary().sha256


def test_another_spelling_of_a_number_does_not():
    assert Vocabulary(mu=100, m=np.float64(256)).sha256 == Vocabulary().sha256


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text_size": 0}, "text_size must be a positive int, not 0"),
        ({"discrete_size": -1}, "discrete_size must be a positive int, not -1"),
        ({"continuous_bins": 1024.0}, "continuous_bins must be a positive int, not 1024.0"),
        ({"text_size": True}, "text_size must be a positive int, not True"),
        ({"disjoint": 1}, "disjoint must be True or False, not 1"),
        ({"mu": 0}, "mu must be a positive finite number, not 0"),
        ({"mu": "100"}, "mu must be a positive finite number, not '100'"),
        ({"mu": True}, "mu must be a positive finite number, not True"),
        ({"m": float("nan")}, "m must be a positive finite number, not nan"),
        ({"m": float("inf")}, "m must be a positive finite number, not inf"),
        ({"m": 10**400}, "m must be a positive finite number"),
        ({"text_size": 2**31}, "ids do not fit int32"),
        ({"discrete_size": 32001}, "discrete_size 32001 does not fit into the 32000 text ids .* set disjoint to true"),
    ],
)
def test_nonsense_is_refused_when_built(change, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary(**change)


def test_a_large_discrete_size_fits_the_disjoint_layout():
    assert len(Vocabulary(discrete_size=32001, disjoint=True).discrete) == 32001


@pytest.mark.parametrize("edit", [lambda d: d.pop("mu"), lambda d: d.update(nu=1)])
def test_json_with_other_keys_is_refused(edit):
    fields = json.loads(Vocabulary().to_json())
    edit(fields)
    with pytest.raises(ValueError, match="a vocabulary has exactly the keys"):
        Vocabulary.from_json(json.dumps(fields))


@pytest.mark.parametrize("text", ["[]", "3", "{", ""])
def test_json_that_is_no_object_is_refused(text):
    with pytest.raises(ValueError):
        Vocabulary.from_json(text)
