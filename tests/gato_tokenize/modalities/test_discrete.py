import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gato_tokenize.modalities.discrete import DiscreteTokenizer
from gato_tokenize.vocabulary import Vocabulary


def test_a_case_by_hand():
    ids = DiscreteTokenizer(size=5, low=-2).encode([[-2, 0], [1, 2]])
    assert ids.dtype == np.int32
    assert ids.tolist() == [[0, 2], [3, 4]]
    values = DiscreteTokenizer(size=5, low=-2).decode(ids)
    assert values.dtype == np.int64
    assert values.tolist() == [[-2, 0], [1, 2]]


def test_a_size_and_a_low_bound_for_each_element():
    tokenizer = DiscreteTokenizer(size=[2, 1024], low=[7, -3])
    assert tokenizer.encode([[7, -3], [8, 1020]]).tolist() == [[0, 0], [1, 1023]]


def test_disjoint_ids_follow_the_separator():
    tokenizer = DiscreteTokenizer(3, vocabulary=Vocabulary(disjoint=True))
    assert tokenizer.encode([0, 2]).tolist() == [33025, 33027]
    assert tokenizer.decode([33025, 33027]).tolist() == [0, 2]


@pytest.mark.parametrize("value", [True, np.uint64(1), np.int8(1), np.array(1)])
def test_a_single_value_of_any_integer_dtype(value):
    ids = DiscreteTokenizer(2).encode(value)
    assert ids.shape == () and ids == 1


@pytest.mark.parametrize("shape", [(0,), (0, 3)])
def test_nothing(shape):
    tokenizer = DiscreteTokenizer(2)
    assert tokenizer.encode(np.zeros(shape, np.int8)).shape == shape
    assert tokenizer.decode(np.zeros(shape, np.int8)).shape == shape
    assert tokenizer.encode([]).shape == tokenizer.decode([]).shape == (0,)


@given(st.data(), st.integers(1, 1024), st.integers(-(2**63), 2**63 - 1024), st.booleans())
def test_round_trip_against_a_loop(data, size, low, disjoint):
    vocabulary = Vocabulary(disjoint=disjoint)
    tokenizer = DiscreteTokenizer(size, low, vocabulary)
    values = data.draw(st.lists(st.integers(low, low + size - 1), max_size=5))
    ids = tokenizer.encode(np.array(values, np.int64))
    assert ids.tolist() == [vocabulary.discrete.start + value - low for value in values]
    assert tokenizer.decode(ids).tolist() == values


@given(st.integers(-(2**63), 2**64 - 1), st.integers(-(2**63), 2**63 - 10))
def test_every_other_value_is_refused(value, low):
    tokenizer = DiscreteTokenizer(10, low)
    if low <= value < low + 10:
        assert tokenizer.encode(value) == value - low
    else:
        with pytest.raises(ValueError, match=rf"value {value} at index \(\) is outside \[{low}, {low + 10}\)"):
            tokenizer.encode(value)


def test_a_value_outside_is_named_with_its_index_and_range():
    with pytest.raises(ValueError, match=r"value 5 at index \(1, 0\) is outside \[-1, 2\)"):
        DiscreteTokenizer(size=[3, 9], low=[-1, 0]).encode([[0, 8], [5, 9]])
    with pytest.raises(ValueError, match=r"value -1 at index 2 is outside \[0, 4\)"):
        DiscreteTokenizer(4).encode([0, 1, -1])
    with pytest.raises(ValueError, match=rf"value {2**64 - 1} at index 0 is outside \[-1, 3\)"):
        DiscreteTokenizer(4, low=-1).encode(np.array([2**64 - 1], np.uint64))  # as int64 it were -1


def test_an_id_outside_is_named_with_its_index_and_range():
    with pytest.raises(ValueError, match=r"id 2 at index 1 is outside \[0, 2\)"):
        DiscreteTokenizer(size=[5, 2]).decode([4, 2])
    with pytest.raises(ValueError, match=r"id -1 at index 0 is outside \[0, 2\)"):
        DiscreteTokenizer(2).decode([-1])
    with pytest.raises(ValueError, match=r"id 3 at index 0 is outside \[33025, 33027\)"):
        DiscreteTokenizer(2, vocabulary=Vocabulary(disjoint=True)).decode(np.array([3], np.uint8))


@pytest.mark.parametrize("values", [[0.0], [1j], ["1"], [None], [2**70], [np.timedelta64(1, "s")]])
def test_other_dtypes_are_refused(values):
    tokenizer = DiscreteTokenizer(2)
    with pytest.raises(ValueError, match="values must be integers of at most 64 bits, not "):
        tokenizer.encode(values)
    with pytest.raises(ValueError, match="ids must be integers of at most 64 bits, not "):
        tokenizer.decode(values)


@pytest.mark.parametrize("shape", [(), (1,), (2,), (3, 1), (3, 4)])
def test_settings_must_fit_the_last_axes(shape):
    tokenizer = DiscreteTokenizer(size=[2, 2, 2])
    with pytest.raises(ValueError, match=r"size or low of shape \(3,\) does not fit the last axes"):
        tokenizer.encode(np.zeros(shape, int))
    with pytest.raises(ValueError, match=r"size or low of shape \(3,\) does not fit the last axes"):
        tokenizer.decode(np.zeros(shape, int))


@pytest.mark.parametrize(
    "size, low, message",
    [
        (0, 0, r"size 0 is below 1"),
        ([2, 1025], 0, r"1025 is more than the 1024 discrete ids.* --vocabulary discrete_size=1025\)"),
        (32001, 0, r"32001 is more than the 1024 discrete ids.* --vocabulary discrete_size=32001,disjoint=true\)"),
        (2.0, 0, "size must be integers"),
        (2, "a", "low must be integers"),
        ([], 0, "size must not be empty"),
        (2, 2**63 - 1, "leaves no room"),
        (2, np.uint64(2**63), "does not fit int64"),
    ],
)
def test_settings_that_are_refused(size, low, message):
    with pytest.raises(ValueError, match=message):
        DiscreteTokenizer(size, low)


def test_the_largest_size_is_the_vocabulary_s():
    assert DiscreteTokenizer(2048, vocabulary=Vocabulary(discrete_size=2048)).encode(2047) == 2047


def test_settings_are_the_tokenizer_s_own():
    size = np.array([2, 2])
    tokenizer = DiscreteTokenizer(size)
    size[:] = 1
    assert tokenizer.decode(tokenizer.encode([1, 1])).tolist() == [1, 1]
