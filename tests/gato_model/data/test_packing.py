import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gato_model.data.packing import Placed, pack, round_up
from gato_model.data.windows import Window
from gato_tokenize.vocabulary import Kind


def step(first: int, patches: int = 0) -> Window:
    """A timestep: patches (a column), a text token, a separator, an action, of ids from `first`."""
    kinds = [Kind.PATCH] * patches + [Kind.TEXT, Kind.SEPARATOR, Kind.DISCRETE_ACTION]
    size = len(kinds)
    return Window(
        np.array([0] * patches + [first, 33024, first + 1], np.int32),
        np.array(kinds, np.uint8),
        np.array([kind in (Kind.TEXT, Kind.DISCRETE_ACTION) for kind in kinds], np.uint8),
        np.array([0, size]),
        np.full((patches, 16, 16, 3), first, np.uint8),
        np.array([(patches, 1)] if patches else [], np.int32).reshape(-1, 2),
    )


def test_a_batch_by_hand() -> None:
    """Row 0: a prompt and its sequence in one segment; row 1: two segments, the second with two patches."""
    placed = [Placed(0, 1, step(10)), Placed(0, 1, step(20)), Placed(1, 1, step(30)), Placed(1, 2, step(40, 2))]
    batch = pack(placed, 2, 9, 128)
    assert batch["tokens"].tolist() == [
        [10, 33024, 11, 20, 33024, 21, 0, 0, 0],
        [30, 33024, 31, 0, 0, 40, 33024, 41, 0],
    ]
    assert batch["segments"].tolist() == [[1] * 6 + [0] * 3, [1] * 3 + [2] * 5 + [0]]
    assert batch["local_positions"].tolist() == [[0, -1, -2, 0, -1, -2, -1, -1, -1], [0, -1, -2, 0, 1, 2, -1, -2, -1]]
    assert batch["target_mask"].tolist() == [[0, 1, 1, 0, 1, 0, 0, 0, 0], [0, 1, 0, 0, 1, 0, 1, 0, 0]]
    assert batch["targets"].tolist() == [[0, 11, 20, 0, 21, 0, 0, 0, 0], [0, 31, 0, 0, 40, 0, 41, 0, 0]]
    assert batch["target_index"].tolist() == [1, 2, 4, 10, 13, 15] + [18] * 10
    assert batch["patch_index"].tolist() == [12, 13] + [18] * 14
    assert batch["patch_intervals"].tolist() == [[0, 64, 0, 128], [64, 128, 0, 128]] + [[0, 1, 0, 1]] * 14
    assert batch["patches"][:3, 0, 0, 0].tolist() == [40, 40, 0]
    assert batch["kinds"][1].tolist() == [0, 4, 6, 1, 1, 0, 4, 6, 0]


def test_a_full_row_predicts_nothing_beyond_itself() -> None:
    """The first token of row 1 is in the loss; the last place of row 0 must not have it as its target."""
    batch = pack([Placed(0, 1, step(10)), Placed(1, 1, step(30))], 2, 3, 128)
    assert batch["target_mask"].tolist() == [[0, 1, 0], [0, 1, 0]]


def test_nothing_is_predicted_over_the_border_of_a_segment() -> None:
    """The text token that starts the second is a target of a prompt's last token, not of another sequence's."""
    together = pack([Placed(0, 1, step(10)), Placed(0, 1, step(20))], 1, 6, 128)
    assert together["target_mask"].tolist() == [[0, 1, 1, 0, 1, 0]]
    apart = pack([Placed(0, 1, step(10)), Placed(0, 2, step(20))], 1, 6, 128)
    assert apart["target_mask"].tolist() == [[0, 1, 0, 0, 1, 0]]


def test_timesteps_apart_are_segments_of_their_own() -> None:
    """Two windows of two timesteps each in one segment, a prompt and its sequence, then an ordinary window."""
    two = Window(
        np.array([10, 33024, 11, 20, 33024, 21], np.int32), np.array([0, 4, 6] * 2, np.uint8),
        np.array([1, 0, 1] * 2, np.uint8), np.array([0, 3, 6]), np.zeros((0, 16, 16, 3), np.uint8),
        np.zeros((0, 2), np.int32),
    )  # fmt: skip
    placed = [Placed(0, 1, two, True), Placed(0, 1, two, True), Placed(0, 2, two), Placed(1, 1, two, True)]
    batch = pack(placed, 2, 18, 128)
    first, second = batch["segments"].reshape(2, 18)
    steps = first.reshape(6, 3)
    assert (steps == steps[:, :1]).all() and len(set(steps[:4, 0])) == 4  # the four timesteps that stand apart
    assert set(steps[4:, 0]) == {2} and 2 not in steps[:4, 0]
    assert len(set(second[:6].tolist())) == 2 and not second[6:].any()
    assert batch["target_mask"].tolist()[0] == [0, 1, 0] * 4 + [0, 1, 1, 0, 1, 0]  # no target beyond a timestep
    whole = pack([one._replace(apart=False) for one in placed], 2, 18, 128)
    assert (whole["tokens"] == batch["tokens"]).all()
    assert (whole["local_positions"] == batch["local_positions"]).all()


def test_empty_rows_are_padding() -> None:
    batch = pack([], 2, 4, 128)
    assert not batch["segments"].any() and (batch["local_positions"] == -1).all()
    assert batch["target_index"].tolist() == [8] * 16 and batch["patch_index"].tolist() == [8] * 16
    middle = pack([Placed(1, 1, step(10))], 3, 4, 128)
    assert middle["segments"].tolist() == [[0] * 4, [1, 1, 1, 0], [0] * 4]


@given(st.integers(0, 10**6))
def test_round_up_wastes_less_than_half(count: int) -> None:
    size = round_up(count)
    odd = size // 3 if size % 3 == 0 else size
    assert size >= max(count, 16) and odd & (odd - 1) == 0
    assert size == 16 or (count > size * 2 / 3 - 1)
