import decimal
import pickle
import re

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gato_tokenize.modalities.bins import bins_of
from gato_tokenize.modalities.continuous import ContinuousTokenizer, inverse_mu_law, mu_law
from gato_tokenize.vocabulary import Vocabulary

ALL_IDS = np.arange(32000, 33024)
observation = ContinuousTokenizer(companded=True)
action = ContinuousTokenizer(companded=False)
both = pytest.mark.parametrize("tokenizer", [observation, action], ids=["observation", "action"])
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


def edges_of(tokenizer):
    """The definition, by the formula and numpy's float64: (2k / 1024 - 1) for actions, its inverse companding."""
    uniform = np.arange(1, 1024) / 512 - 1
    return (inverse_mu_law(uniform) if tokenizer.companded else uniform).astype(np.float32)


def by_definition(tokenizer, x):
    return 32000 + np.searchsorted(edges_of(tokenizer), x, side="right")


@pytest.mark.parametrize(
    "value, token",
    [(0, 32512), (1, 32744), (-1, 32279), (0.001, 32516), (-0.001, 32507), (10, 32860), (-5, 32198)]
    + [(255, 33023), (256, 33023), (1e30, 33023), (-256, 32000), (-1e30, 32000), (-0.0, 32512)],
)
def test_observations_by_hand(value, token):
    assert observation.encode(value) == token


@pytest.mark.parametrize(
    "value, token",
    [(0, 32512), (0.25, 32640), (0.5, 32768), (-0.5, 32256), (1 / 3, 32682), (0.999, 33023)]
    + [(1, 33023), (7, 33023), (-1, 32000), (-7, 32000), (-1e-45, 32511), (1e-45, 32512)],
)
def test_actions_by_hand(value, token):
    assert action.encode(value) == token


def test_companding_an_action_would_give_another_id():
    assert observation.encode(0.5) == 32710


def test_shapes_and_dtypes():
    values = np.zeros((2, 3), np.float32)
    assert observation.encode(values).dtype == np.int32
    assert observation.encode(values).shape == observation.clipped(values).shape == (2, 3)
    assert observation.decode(ALL_IDS.reshape(2, -1)).dtype == np.float32
    assert observation.decode(ALL_IDS.reshape(2, -1)).shape == (2, 512)
    assert observation.encode(0.0).shape == observation.decode(32512).shape == ()
    assert observation.encode([]).shape == observation.decode([]).shape == (0,)
    assert observation.encode(np.zeros((4, 0))).shape == (4, 0)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "g", ">f4", "i1", "i8", "u8", "?"])
def test_dtypes_that_are_taken(dtype):
    assert observation.encode(np.array([[0, 1]], dtype)).tolist() == [[32512, 32744]]


@both
def test_non_contiguous_and_read_only_values(tokenizer):
    values = np.linspace(-2, 2, 600, dtype=np.float32).reshape(20, 30).T[::2]
    values.setflags(write=False)
    assert (tokenizer.encode(values) == by_definition(tokenizer, values)).all()


@both
def test_every_id_comes_back(tokenizer):
    centres = tokenizer.decode(ALL_IDS)
    assert (np.diff(centres) > 0).all()
    assert (tokenizer.encode(centres) == ALL_IDS).all()


def test_decoding_actions_has_no_bias():
    x = np.linspace(-1, 1, 1024 * 64 + 1)[:-1] + 1 / 65536  # 64 values to each bin, symmetric in it
    error = action.decode(action.encode(x)).astype(np.float64) - x
    assert abs(error.mean()) < 1e-9
    assert np.abs(error).max() < 1 / 1024


def test_decoded_observations_are_the_formula_at_the_middle_of_the_bin():
    middle = (2 * np.arange(1024) + 1) / 1024 - 1
    assert np.allclose(observation.decode(ALL_IDS), inverse_mu_law(middle), rtol=1e-6, atol=0)
    assert np.allclose(mu_law(observation.decode(ALL_IDS)), middle, rtol=0, atol=1e-6)


@given(arrays(np.float64, 5, elements=st.floats(-1e6, 1e6)))
def test_the_formula_and_its_inverse(x):
    expected = [np.sign(v) * np.log(100 * abs(v) + 1) / np.log(256 * 100 + 1) for v in x]
    assert np.allclose(mu_law(x), expected, atol=1e-12)
    assert np.allclose(inverse_mu_law(mu_law(x)), x, rtol=1e-9, atol=1e-12)


@both
def test_the_edges_are_the_formula_s(tokenizer):
    bins = bins_of(*tokenizer._grid)
    assert (bins.edges == edges_of(tokenizer)).all()
    assert len(bins.edges) == 1023 and len(bins.centres) == 1024
    assert bins.table is not None  # the quick way is the one that the tests below look at


def test_no_platform_s_pow_can_move_an_edge():
    """An error of thousands of float64 ulps would still round to the same float32."""
    with decimal.localcontext(prec=60):
        base = decimal.Decimal(256 * 100 + 1)
        for k, edge in zip(range(1, 512), bins_of(*observation._grid).edges[512:], strict=True):
            exact = (base ** (decimal.Decimal(k) / 512) - 1) / 100
            below, above = (decimal.Decimal(float(np.nextafter(edge, np.float32(to)))) for to in (0, np.inf))
            here = decimal.Decimal(float(edge))
            assert (below + here) / 2 < exact < (here + above) / 2
            margin = min(exact - (below + here) / 2, (here + above) / 2 - exact)
            assert margin > 2000 * decimal.Decimal(float(np.spacing(float(exact))))


@both
def test_edges_and_their_neighbours(tokenizer):
    edges = edges_of(tokenizer)
    for x in (edges, np.nextafter(edges, np.float32(np.inf)), np.nextafter(edges, np.float32(-np.inf))):
        assert (tokenizer.encode(x) == by_definition(tokenizer, x)).all()
    assert (tokenizer.encode(edges) == ALL_IDS[1:]).all()  # an edge is the first value of the bin above it
    assert (tokenizer.encode(np.nextafter(edges, np.float32(-np.inf))) == ALL_IDS[:-1]).all()


@both
def test_a_sample_of_every_exponent(tokenizer):
    generator = np.random.default_rng(0)
    upper = np.arange(1 << 9, dtype=np.uint32) << np.uint32(23)  # sign and exponent
    lower = np.concatenate([[0, 1, (1 << 23) - 1], generator.integers(0, 1 << 23, 4000)]).astype(np.uint32)
    x = (upper[:, None] | lower).view(np.float32)
    x = x[np.isfinite(x)]
    assert (tokenizer.encode(x) == by_definition(tokenizer, x)).all()


@both
def test_few_and_many_values_are_found_alike(tokenizer):
    x = np.concatenate([edges_of(tokenizer), np.linspace(-2, 2, 100_000, dtype=np.float32)])
    one_by_one = [int(tokenizer.encode(v)) for v in x[::97]]
    assert tokenizer.encode(x)[::97].tolist() == one_by_one


@pytest.mark.slow
@both
def test_every_float32(tokenizer):
    """Between two edges the definition is constant: 2**32 values against one `repeat` of the expected ids."""
    edges = edges_of(tokenizer)
    step = 1 << 22
    for start in range(0, 1 << 32, step):
        x = np.arange(start, start + step, dtype=np.uint32).view(np.float32)
        if not np.isfinite(x[[0, -1]]).all():  # a step never straddles an exponent
            continue
        ascending = x if start < 1 << 31 else x[::-1]
        places = np.searchsorted(ascending, edges, side="left")  # the first value of the bin above each edge
        counts = np.diff(places, prepend=0, append=step)
        assert (tokenizer.encode(ascending) == np.repeat(ALL_IDS, counts)).all()


@given(st.lists(finite, max_size=100))
def test_any_floats_against_the_definition(values):
    x = np.array(values, np.float32)
    for tokenizer in (observation, action):
        assert (tokenizer.encode(x) == by_definition(tokenizer, x)).all()


@pytest.mark.parametrize("bins", [1, 2, 7, 100, 4096, 1 << 15])
@pytest.mark.parametrize("companded", [True, False])
def test_other_vocabularies(bins, companded):
    vocabulary = Vocabulary(text_size=1024, continuous_bins=bins, mu=50, m=10)
    tokenizer = ContinuousTokenizer(companded=companded, vocabulary=vocabulary)
    ids = np.arange(1024, 1024 + bins)
    assert (tokenizer.encode(tokenizer.decode(ids)) == ids).all()
    x = np.linspace(-11, 11, 1 << 16, dtype=np.float32)
    uniform = 2 * np.arange(1, bins) / bins - 1
    edges = (inverse_mu_law(uniform, 50, 10) if companded else uniform).astype(np.float32)
    differs = tokenizer.encode(x) != 1024 + np.searchsorted(edges, x, side="right")
    assert differs.sum() <= (bins == 1 << 15)  # so many edges that numpy's pow may round one of them otherwise


@pytest.mark.parametrize("m", [1e40, 1e-44])
def test_bins_that_float32_cannot_separate_are_refused(m):
    with pytest.raises(
        ValueError, match=rf"float32 cannot tell 1024 bins apart with mu=100.0 and m={re.escape(str(m))}"
    ):
        ContinuousTokenizer(companded=True, vocabulary=Vocabulary(m=m)).encode([0])


@pytest.mark.parametrize("bins", [1 << 14, 20_000])  # the second times 2**17 is more than an int32
def test_bins_over_all_of_float32_s_range(bins):
    tokenizer = ContinuousTokenizer(companded=True, vocabulary=Vocabulary(continuous_bins=bins, mu=1e37, m=3e38))
    edges, centres, table, _ = bins_of(*tokenizer._grid)
    assert table is not None
    x = np.concatenate([edges, np.nextafter(edges, np.float32(0)), centres, [np.float32(3.4e38)]])
    assert (tokenizer.encode(x) == 32000 + np.searchsorted(edges, x, side="right")).all()


def test_bounds_by_hand():
    tokenizer = ContinuousTokenizer(companded=False, low=[0, -5], high=[10, 5])
    assert tokenizer.encode([[0, -5], [5, 0], [10, 5], [7.5, -2.5], [99, -99]]).tolist() == [
        [32000, 32000],
        [32512, 32512],
        [33023, 33023],
        [32768, 32256],
        [33023, 32000],
    ]
    assert tokenizer.decode([32512, 32512]).tolist() == [np.float32(5 + 5 / 1024), np.float32(5 / 1024)]


def test_elements_with_bounds_of_one_are_not_touched_by_the_others():
    tokenizer = ContinuousTokenizer(companded=False, low=[-1, 0], high=[1, 255])
    x = np.concatenate([edges_of(action), np.nextafter(edges_of(action), np.float32(-9)), [1e-45, -1e-45, 3e38]])
    pairs = np.stack([x, np.zeros_like(x)], axis=1)
    assert (tokenizer.encode(pairs)[:, 0] == action.encode(x)).all()
    assert (tokenizer.decode(np.stack([ALL_IDS, ALL_IDS], axis=1))[:, 0] == action.decode(ALL_IDS)).all()


@given(finite, finite)
@example(0.0, 1.401298464324817e-42)  # subnormal
@example(-3.4028234663852886e38, 3.4028234663852886e38)  # what a Box without bounds has
@example(1e6, 1000256.0)
def test_every_id_comes_back_between_any_bounds(low, high):
    low, high = min(low, high), max(low, high)
    assume(low < high)
    try:
        tokenizer = ContinuousTokenizer(companded=False, low=low, high=high)
    except ValueError as error:
        assert "too close" in str(error)
        assert high - low <= 2048 * float(np.spacing(np.float32(max(abs(low), abs(high)))))
        return
    values = tokenizer.decode(ALL_IDS)
    assert (tokenizer.encode(values) == ALL_IDS).all()
    assert not tokenizer.clipped(values).any()
    assert tokenizer.encode([low, high]).tolist() == [32000, 33023]
    assert tokenizer.encode([-3.4028234663852886e38, 3.4028234663852886e38]).tolist() == [32000, 33023]


def test_bounds_count_as_float32_like_the_values():
    tokenizer = ContinuousTokenizer(companded=False, low=-0.1, high=0.1)  # float32(0.1) > 0.1
    assert tokenizer.clipped(np.float32([-0.1, 0.1])).tolist() == [False, False]


def test_clipped():
    assert observation.clipped([-257, -256, 0, 256, 257]).tolist() == [True, False, False, False, True]
    assert action.clipped([[-1.1, -1], [1, 1.1]]).tolist() == [[True, False], [False, True]]
    assert action.clipped(np.nextafter(np.float32(1), np.float32(2)))
    bounded = ContinuousTokenizer(companded=False, low=[0, -5], high=[10, 5])
    assert bounded.clipped([[-1, -1], [6, 6]]).tolist() == [[True, False], [False, True]]
    assert action.clipped([]).shape == (0,)


@pytest.mark.parametrize(
    "values, message",
    [
        ([0.0, np.nan], "value nan at index 1 is not finite$"),
        ([[0, 0], [0, -np.inf]], r"value -inf at index \(1, 1\) is not finite$"),
        (np.inf, r"value inf at index \(\) is not finite$"),
        ([0, 1e39], r"value 1e\+39 at index 1 is not finite, beyond float32's range"),
        ([1j], "value: expected real numbers, got complex128"),
        (["1"], "value: expected real numbers, got <U1"),
        ([None], "value: expected real numbers, got object"),
        ([2**70], "value: expected real numbers, got object"),
    ],
)
@both
def test_values_that_are_refused(tokenizer, values, message):
    with pytest.raises(ValueError, match=message):
        tokenizer.encode(values)
    with pytest.raises(ValueError, match=message):
        tokenizer.clipped(values)


def test_the_index_is_right_among_many():
    values = np.zeros((300, 300), np.float32)
    values[200, 7] = np.nan
    with pytest.raises(ValueError, match=r"value nan at index \(200, 7\)"):
        observation.encode(values)


@pytest.mark.parametrize(
    "ids, message",
    [
        ([32000, 31999], r"id 31999 at index 1 is outside \[32000, 33024\)"),
        ([[33024]], r"id 33024 at index \(0, 0\) is outside"),
        (np.array([200], np.uint8), r"id 200 at index 0 is outside"),
        (np.array([2**64 - 1], np.uint64), r"id 18446744073709551615 at index 0 is outside"),
        ([-1], "id -1 at index 0 is outside"),
        ([32000.0], "ids must be integers, not float64"),
    ],
)
@both
def test_ids_that_are_refused(tokenizer, ids, message):
    with pytest.raises(ValueError, match=message):
        tokenizer.decode(ids)


@pytest.mark.parametrize(
    "companded, low, high, message",
    [
        (True, -2, 2, "companded values have no bounds"),
        (True, -1, 2, "companded values have no bounds"),
        (False, 1, 1, r"low 1.0 at index \(\) is not below high 1.0"),
        (False, [0, 3], 2, "low 3.0 at index 1 is not below high 2.0"),
        (False, -np.inf, 1, "low -inf at index .* is not finite"),
        (False, 0, np.nan, "high nan at index .* is not finite"),
        (False, 0, 1e39, "high 1e.39 at index .* is not finite, beyond float32's range"),
        (False, 0, "1", "high: expected real numbers"),
        (False, 1000, 1000.1, "too close: float32 cannot tell 1024 bins between them apart"),
        (False, [0, 0], [1, 1, 1], "shape mismatch"),
    ],
)
def test_bounds_that_are_refused(companded, low, high, message):
    with pytest.raises(ValueError, match=message):
        ContinuousTokenizer(companded=companded, low=low, high=high)


@pytest.mark.parametrize("shape", [(), (1,), (4, 1), (3, 3)])
def test_bounds_must_fit_the_last_axes(shape):
    tokenizer = ContinuousTokenizer(companded=False, low=[0, 0], high=[1, 2])
    for call, fill in ((tokenizer.encode, 0), (tokenizer.clipped, 0), (tokenizer.decode, 32000)):
        with pytest.raises(ValueError, match=r"low or high of shape \(2,\) does not fit the last axes"):
            call(np.full(shape, fill))


def test_what_is_given_out_is_not_shared():
    observation.decode(ALL_IDS)[:] = 0
    assert (observation.encode(observation.decode(ALL_IDS)) == ALL_IDS).all()
    values = np.zeros(3, np.float32)
    ContinuousTokenizer(companded=False, low=0, high=5).encode(values)
    assert (values == 0).all()


def test_tokenizers_travel_between_processes():
    tokenizer = ContinuousTokenizer(companded=False, low=[0, -5], high=[10, 5])
    tokenizer.encode([1, 1])
    assert len(pickle.dumps(tokenizer)) < 2000  # settings only, no tables
    assert (pickle.loads(pickle.dumps(tokenizer)).encode([7, 3]) == tokenizer.encode([7, 3])).all()
