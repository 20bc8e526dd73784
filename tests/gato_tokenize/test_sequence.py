"""TokenSequence: the toy step by hand, cutting and joining as inverses, positions, padding, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gato_tokenize.sequence import ACTION_POSITION, NO_POSITION, TokenSequence
from gato_tokenize.vocabulary import Kind

PATCH, TEXT, CONTINUOUS, SEPARATOR, ACTION = (
    Kind.PATCH, Kind.TEXT, Kind.CONTINUOUS, Kind.SEPARATOR, Kind.CONTINUOUS_ACTION,
)  # fmt: skip


def sequence(kinds, lengths, grids=(), encoded=(), seed=0):
    """A sequence of these kinds and timesteps, its ids and pixels at random."""
    generator = np.random.default_rng(seed)
    kinds = np.array(kinds, np.uint8)
    patches = generator.integers(0, 256, (int(np.count_nonzero(kinds == PATCH)), 16, 16, 3), dtype=np.uint8)
    return TokenSequence(
        generator.integers(0, 33025, len(kinds)).astype(np.int32),
        kinds,
        generator.integers(0, 2, len(kinds)).astype(np.uint8),
        np.cumsum([0, *lengths]).astype(np.int64),
        patches,
        np.array(grids, np.int32).reshape(-1, 2),
        tuple(encoded),
    )


def toy_step(steps=1):
    """docs/paper.md's toy step: `image` 64x80, `instruction` [17, 905], `proprio` [0, 1, -5], action [0.25, -1, 1]."""
    kinds = [PATCH] * 20 + [TEXT] * 2 + [CONTINUOUS] * 3 + [SEPARATOR] + [ACTION] * 3
    ids = [0] * 20 + [17, 905, 32512, 32744, 32198, 33024, 32640, 32000, 33023]
    mask = [0] * 20 + [1, 1, 0, 0, 0, 0, 1, 1, 1]
    return TokenSequence(
        np.array(ids * steps, np.int32),
        np.array(kinds * steps, np.uint8),
        np.array(mask * steps, np.uint8),
        np.arange(steps + 1) * 29,
        np.zeros((20 * steps, 16, 16, 3), np.uint8),
        np.array([[4, 5]] * steps, np.int32),
    )


TOY_POSITIONS = [*range(25), NO_POSITION, *[ACTION_POSITION] * 3]


def test_the_toy_step():
    step = toy_step()
    assert (len(step), step.num_steps) == (29, 1)
    assert step.patches_per_image.tolist() == [20]
    assert step.local_positions.tolist() == TOY_POSITIONS
    assert step.local_positions.dtype == np.int32
    assert step.ids[step.loss_mask == 1].tolist() == [17, 905, 32640, 32000, 33023]


def test_two_toy_steps_cut_and_joined():
    two = toy_step(2)
    assert two.local_positions.tolist() == TOY_POSITIONS * 2
    assert two.steps(1, 2) == toy_step()
    assert TokenSequence.join([toy_step(), toy_step()]) == two
    assert two.steps(0, 2) == two


def test_the_toy_step_padded():
    padded = toy_step().pad(32)
    assert padded.step_splits.tolist() == [0, 29]
    assert padded.ids[29:].tolist() == padded.loss_mask[29:].tolist() == [0, 0, 0]
    assert padded.local_positions.tolist() == TOY_POSITIONS + [NO_POSITION] * 3
    assert (len(padded), padded.num_steps) == (32, 1)
    assert padded.steps(0, 1) == toy_step()
    assert toy_step().pad(29) == toy_step()


def test_a_document_has_no_positions():
    """Nor has a sample: there is no separator in them."""
    sample = sequence([PATCH] * 2 + [TEXT] * 3, [5], [[1, 2]])
    assert sample.local_positions.tolist() == [NO_POSITION] * 5
    joined = TokenSequence.join([sample, toy_step()])
    assert joined.local_positions.tolist() == [NO_POSITION] * 5 + TOY_POSITIONS


def test_a_timestep_without_action_and_one_without_observation():
    kinds = [CONTINUOUS, SEPARATOR, SEPARATOR, ACTION]
    assert sequence(kinds, [2, 2]).local_positions.tolist() == [0, NO_POSITION, NO_POSITION, ACTION_POSITION]


def test_no_timesteps():
    empty = toy_step().steps(0, 0)
    assert (len(empty), empty.num_steps, empty.patches.shape, empty.grids.shape) == (0, 0, (0, 16, 16, 3), (0, 2))
    assert empty.local_positions.shape == (0,)
    assert TokenSequence.join([empty, toy_step(), empty]) == toy_step()


@st.composite
def sequences(draw):
    """Timesteps with 0 to 3 images of 1 to 6 patches, texts before and between them, with or without separators."""
    kinds, lengths, grids = [], [], []
    for _ in range(draw(st.integers(0, 4))):
        before = len(kinds)
        for _ in range(draw(st.integers(0, 3))):
            grid = (draw(st.integers(1, 2)), draw(st.integers(1, 3)))
            grids.append(grid)
            kinds += [TEXT] * draw(st.integers(0, 2)) + [PATCH] * (grid[0] * grid[1])
        if draw(st.booleans()):
            kinds += [SEPARATOR] + [ACTION] * draw(st.integers(0, 2))
        lengths.append(len(kinds) - before)
    files = [b"file %d" % i for i in range(len(grids))] if draw(st.booleans()) else []
    return sequence(kinds, lengths, grids, files, seed=draw(st.integers(0, 9)))


@given(sequences(), st.data())
def test_joining_is_the_inverse_of_cutting(whole, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, whole.num_steps), max_size=3)))
    cuts = [0, *cuts, whole.num_steps]
    parts = [whole.steps(start, stop) for start, stop in zip(cuts, cuts[1:], strict=False)]
    joined = TokenSequence.join(parts)
    assert joined == whole
    assert [getattr(joined, n).dtype for n in vars(joined) if n != "encoded"] == [
        getattr(whole, n).dtype for n in vars(whole) if n != "encoded"
    ]
    assert np.array_equal(np.concatenate([part.local_positions for part in parts]), whole.local_positions)


@given(sequences(), sequences())
def test_equality_sees_every_array(one, two):
    names = ("ids", "kinds", "loss_mask", "step_splits", "patches", "grids")
    same = all(np.array_equal(getattr(one, n), getattr(two, n)) for n in names) and one.encoded == two.encoded
    assert (one == two) == same
    assert one == one.steps(0, one.num_steps)
    assert one != "tokens"


@given(sequences())
def test_positions_against_a_loop(whole):
    expected = []
    for start, stop in zip(whole.step_splits, whole.step_splits[1:], strict=False):
        kinds = whole.kinds[start:stop].tolist()
        border = kinds.index(SEPARATOR) if SEPARATOR in kinds else None
        for i in range(len(kinds)):
            if border is None or i == border:
                expected.append(NO_POSITION)
            else:
                expected.append(i if i < border else ACTION_POSITION)
    assert whole.local_positions.tolist() == expected


@given(sequences(), st.integers(0, 5))
def test_padding_stands_after_the_last_split(whole, more):
    padded = whole.pad(len(whole) + more)
    size = len(whole)
    assert padded.ids[:size].tolist() == whole.ids.tolist()
    assert len(padded.ids[size:]) == more and padded.step_splits[-1] == size
    assert not padded.loss_mask[size:].any()
    assert (padded.local_positions[size:] == NO_POSITION).all()
    assert padded.steps(0, whole.num_steps) == whole


def test_encoded_images_are_kept_where_all_have_them():
    one, two = (sequence([PATCH, TEXT], [2], [[1, 1]], files) for files in ([b"file"], []))
    text = sequence([TEXT], [1])
    assert TokenSequence.join([one, text, one]).encoded == (b"file", b"file")
    assert TokenSequence.join([one, two]).encoded == ()
    assert TokenSequence.join([two, text]).encoded == ()


def arrays(**changes):
    values = {name: getattr(toy_step(), name) for name in vars(toy_step())}
    return values | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kinds": np.zeros(28, np.uint8)}, r"must have one shape, got \[\[29\], \[28\], \[29\]\]"),
        ({"loss_mask": np.zeros((29, 1), np.uint8)}, "must have one shape"),
        ({"step_splits": np.array([0, 30])}, "step_splits must rise from 0 to at most 29"),
        ({"step_splits": np.array([1, 29])}, "step_splits must rise from 0"),
        ({"step_splits": np.array([0, 20, 10, 29])}, "step_splits must rise from 0"),
        ({"step_splits": np.array([], np.int64)}, "step_splits must rise from 0"),
        ({"patches": np.zeros((19, 16, 16, 3), np.uint8)}, r"20 patch tokens, but patches of shape \[19, 16, 16, 3\]"),
        ({"grids": np.array([[4, 4]])}, r"20 patch tokens, but image grids \[\[4, 4\]\]"),
        ({"grids": np.array([20])}, "20 patch tokens, but image grids"),
        ({"encoded": (b"one", b"two")}, "1 images, but 2 encoded ones"),
    ],
)
def test_arrays_that_contradict_each_other_are_refused(changes, message):
    TokenSequence(**arrays())
    with pytest.raises(ValueError, match=message):
        TokenSequence(**arrays(**changes))


@pytest.mark.parametrize(("start", "stop"), [(-1, 1), (0, 3), (2, 1)])
def test_timesteps_that_are_not_there(start, stop):
    with pytest.raises(ValueError, match=f"timesteps {start} to {stop} are not in a sequence of 2"):
        toy_step(2).steps(start, stop)


def test_what_cannot_be_joined_or_padded():
    with pytest.raises(ValueError, match="nothing to join"):
        TokenSequence.join([])
    with pytest.raises(ValueError, match="a padded sequence cannot be joined"):
        TokenSequence.join([toy_step().pad(30), toy_step()])
    with pytest.raises(ValueError, match="29 tokens do not fit in 28"):
        toy_step().pad(28)
