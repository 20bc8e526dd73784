import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gato_model.data.windows import Window, window_at
from gato_tokenize.modalities.image import intervals
from gato_tokenize.vocabulary import Kind


def splits_of(lengths: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def test_a_case_by_hand() -> None:
    """Timesteps of 3 tokens, a room of 7: two timesteps fit."""
    splits = splits_of([3] * 5)
    starts = [window_at(splits, 7, place) for place in (0.0, 0.3, 0.45, 0.6, 0.75, 1.0)]
    assert starts == [(0, 6), (0, 6), (3, 9), (6, 12), (9, 15), (9, 15)]


def test_what_fits_is_taken_whole() -> None:
    assert window_at(splits_of([3, 4]), 7, 0.9) == (0, 7)
    assert window_at(splits_of([3, 4]), 100, 0.0) == (0, 7)


def test_a_document_is_cut_anywhere() -> None:
    assert [window_at(splits_of([10]), 4, place, any_token=True) for place in (0.0, 0.5, 1.0)] == [
        (0, 4),
        (3, 7),
        (6, 10),
    ]


def test_a_timestep_that_does_not_fit_is_passed_over() -> None:
    """A timestep of 9 tokens between two of 2 never fits in a room of 5."""
    splits = splits_of([2, 9, 2])
    assert {window_at(splits, 5, place / 20) for place in range(21)} == {(0, 2), (11, 13)}
    assert window_at(splits_of([6, 6]), 5, 0.5) == (0, 0)


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 30), st.floats(0, 1), st.booleans())
def test_windows_are_legal_and_use_their_room(lengths: list[int], room: int, place: float, any_token: bool) -> None:
    splits = splits_of(lengths)
    start, stop = window_at(splits, room, place, any_token)
    assert 0 <= start <= stop <= splits[-1] and stop - start <= room
    if any_token:
        assert stop - start == min(room, splits[-1])
    else:
        assert start in splits and stop in splits
        assert stop > start or min(lengths) > room
    if stop > start and not any_token:  # one timestep more on either side would be too much
        longer = [stop + lengths[i] - start for i in range(len(lengths)) if splits[i] == stop]
        assert all(size > room for size in longer)


def test_every_token_is_seen_about_as_often() -> None:
    places = (np.arange(4000) + 0.5) / 4000
    for any_token in (True, False):
        seen = np.zeros(60)
        for place in places:
            start, stop = window_at(splits_of([3] * 20), 12, float(place), any_token)
            seen[start:stop] += 1
        assert seen.min() > 0.6 * seen.mean() and seen.max() < 1.9 * seen.mean()
        assert abs(seen[20:40] / seen.mean() - 0.85).max() < 0.15  # the ends have what the middle lacks


def window(grids: list[tuple[int, int]], texts: int = 2) -> Window:
    """A timestep for each image: its patches, then `texts` tokens."""
    counts = [rows * columns for rows, columns in grids]
    kinds = [kind for count in counts for kind in [Kind.PATCH] * count + [Kind.TEXT] * texts]
    size, patches = len(kinds), sum(counts)
    pixels = np.arange(patches, dtype=np.uint8)[:, None, None, None] * np.ones((1, 16, 16, 3), np.uint8)
    return Window(
        np.arange(size, dtype=np.int32),
        np.array(kinds, np.uint8),
        np.array([kind == Kind.TEXT for kind in kinds], np.uint8),
        splits_of([count + texts for count in counts]),
        pixels,
        np.array(grids, np.int32).reshape(-1, 2),
    )


def test_a_cut_keeps_what_belongs_to_its_tokens() -> None:
    """Images of 1x2 and 2x2: tokens p p t t | p p p p t t."""
    whole = window([(1, 2), (2, 2)])
    cut = whole.slice(4, 10)
    assert cut.ids.tolist() == [4, 5, 6, 7, 8, 9] and cut.step_splits.tolist() == [0, 6]
    assert cut.grids.tolist() == [[2, 2]] and cut.patches[:, 0, 0, 0].tolist() == [2, 3, 4, 5]
    assert cut.patch_intervals(128).tolist() == [[0, 64, 0, 64], [0, 64, 64, 128], [64, 128, 0, 64], [64, 128, 64, 128]]
    assert whole.slice(0, 10) is whole


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=4), st.data())
def test_any_cut_has_the_intervals_of_its_patches(grids: list[tuple[int, int]], data: st.DataObject) -> None:
    whole = window(grids)
    start = data.draw(st.integers(0, len(whole) - 1))
    stop = data.draw(st.integers(start + 1, len(whole)))
    plain = [
        [*row, *column]
        for rows, columns in grids
        for row in intervals(rows).tolist()
        for column in intervals(columns).tolist()
    ]
    cut = whole.slice(start, stop)
    numbers = cut.patches[:, 0, 0, 0].tolist()
    before = int((whole.kinds[:start] == Kind.PATCH).sum())
    assert numbers == list(range(before, before + int((cut.kinds == Kind.PATCH).sum())))
    assert cut.patch_intervals(128).tolist() == [plain[number] for number in numbers]
    assert cut.ids.tolist() == list(range(start, stop))
    assert cut.step_splits[0] == 0 and cut.step_splits[-1] == stop - start and (np.diff(cut.step_splits) > 0).all()


def test_a_cut_lets_go_of_the_whole() -> None:
    whole = window([(1, 2), (2, 2)])
    cut = whole.slice(4, 8)
    assert not any(np.shares_memory(a, b) for a, b in ((cut.ids, whole.ids), (cut.patches, whole.patches)))
    assert cut.nbytes < whole.nbytes
