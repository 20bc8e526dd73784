"""The cached computation against the plain one, to 1e-4, however the stream is cut up."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_acting import CONFIG, random_chunk, toy_model, uncached

from gato_model.acting.chunk import batch
from gato_model.acting.decoder import Decoder

WINDOW, LONGEST = CONFIG.sequence_length, 6


@pytest.fixture(scope="module")
def model():
    return toy_model()


@pytest.fixture(scope="module")
def decoder(model):
    return Decoder(model, rows=3, longest=LONGEST)


def clear(decoder):
    rows = np.arange(decoder.rows, dtype=np.int32)
    decoder.reset(rows, rows)


def append(decoder, chunks):
    return decoder.append(*batch(chunks, decoder.rows).values()).numpy()


def stream(decoder, chunks, lengths):
    """Every row's chunk, lengths[i][row] tokens at a time; {row: {index of a token: what the head reads there}}."""
    read, at = {row: {} for row in chunks}, dict.fromkeys(chunks, 0)
    for step in lengths:
        pieces = {row: chunk.slice(at[row], at[row] + step[row]) for row, chunk in chunks.items() if step[row]}
        hidden = append(decoder, pieces)
        for row, piece in pieces.items():
            at[row] += len(piece)
            if len(piece):
                read[row][at[row] - 1] = hidden[row]
    return read


def assert_equal_to_uncached(model, chunks, read, window=WINDOW):
    for row, chunk in chunks.items():
        expected = uncached(model, chunk, window)
        for index, hidden in read[row].items():
            assert np.abs(hidden - expected[index]).max() < 1e-4, (row, index)


def test_token_by_token(model):
    one, chunk = Decoder(model, longest=1), random_chunk(60, seed=0)  # 60 tokens, 24 of them in the window
    read = stream(one, {0: chunk}, [[1]] * 60)
    assert len(read[0]) == 60
    assert_equal_to_uncached(model, {0: chunk}, read)


def test_one_id_at_a_time_in_some_of_the_rows(model, decoder):
    """`append_one`, between chunks, with rows that wait, beyond the window."""
    clear(decoder)
    chunks = {row: random_chunk(60, seed=row, patch_fraction=0) for row in range(3)}
    read = stream(decoder, {row: chunk.slice(0, 5) for row, chunk in chunks.items()}, [(5, 0, 3), (0, 5, 2)])
    at, generator = [5, 5, 5], np.random.default_rng(0)
    while min(at) < 60:
        active = (generator.random(3) < 0.7) & (np.array(at) < 60)
        now = [chunks[row].slice(at[row] * active[row], at[row] * active[row] + 1) for row in range(3)]
        ids, positions = (np.concatenate([getattr(one, name) for one in now]) for name in ("ids", "positions"))
        hidden = decoder.append_one(ids, positions, active.astype(np.int32)).numpy()
        for row in np.flatnonzero(active):
            read[row][at[row]] = hidden[row]
            at[row] += 1
    assert decoder.counts.numpy().tolist() == [60, 60, 60]
    assert_equal_to_uncached(model, chunks, read)


def test_reading_what_is_kept_copies_nothing(model):
    """A variable that was scattered into, or gathered from, is copied at every read unless that is prevented."""
    decoder = Decoder(model, longest=4)
    for seed in range(2):
        append(decoder, {0: random_chunk(4, seed)})
    for kept in (*decoder.keys, *decoder.values, model.token_embedding.table.value):
        one, other = (np.asarray(memoryview(kept.value())) for _ in range(2))
        assert np.shares_memory(one, other), kept.name


def test_the_whole_in_one_chunk(model):
    one, chunk = Decoder(model, longest=20), random_chunk(20, seed=1)
    assert_equal_to_uncached(model, {0: chunk}, stream(one, {0: chunk}, [[20]]), window=None)


@settings(max_examples=25)
@given(lengths=st.lists(st.tuples(*[st.integers(0, LONGEST)] * 3), min_size=1, max_size=25), seed=st.integers(0, 99))
def test_rows_of_different_lengths_beyond_the_window(model, decoder, lengths, seed):
    clear(decoder)
    chunks = {row: random_chunk(sum(step[row] for step in lengths) + 1, seed + row) for row in range(3)}
    read = stream(decoder, chunks, lengths)
    assert_equal_to_uncached(model, chunks, read)


def test_the_window_is_what_is_forgotten(model):
    """Without the window the end of a long stream is another: the tests above see it slide."""
    chunk = random_chunk(60, seed=0)
    assert np.abs(uncached(model, chunk, WINDOW)[-1] - uncached(model, chunk)[-1]).max() > 1e-2


def test_a_row_without_tokens_waits(model, decoder):
    clear(decoder)
    chunks = {row: random_chunk(12, seed=row) for row in range(3)}
    read = stream(decoder, chunks, [(6, 6, 6), (0, 6, 0), (0, 0, 1), (6, 0, 5)])
    assert decoder.counts.numpy().tolist() == [12, 12, 12]
    assert_equal_to_uncached(model, chunks, read)


def test_reset_brings_some_rows_back_to_the_mark(model):
    decoder = Decoder(model, rows=3, longest=LONGEST)
    prompts = {row: random_chunk(5 + row, seed=row) for row in range(3)}
    stream(decoder, prompts, [(5, 6, 6), (0, 0, 1)])
    decoder.mark()
    first = {row: random_chunk(40, seed=10 + row) for row in range(3)}  # long enough to overwrite the prompts
    for start in range(0, 40, 5):
        append(decoder, {row: chunk.slice(start, start + 5) for row, chunk in first.items()})
    decoder.reset(np.array([2, 0], np.int32), np.array([0, 0], np.int32))
    assert decoder.counts.numpy().tolist() == [5, 46, 7]
    second = {row: random_chunk(6, seed=20 + row) for row in range(3)}
    hidden = append(decoder, second)
    for row in range(3):
        before = [prompts[row]] if row != 1 else [prompts[row], first[row]]
        whole = type(prompts[row]).join([*before, second[row]])
        assert np.abs(hidden[row] - uncached(model, whole, WINDOW)[-1]).max() < 1e-4, row


def test_a_mark_beyond_the_window_is_refused(model):
    decoder = Decoder(model, window=4, longest=6)
    append(decoder, {0: random_chunk(5, seed=0)})
    with pytest.raises(ValueError, match="5 tokens are more than the 4"):
        decoder.mark()


def test_bfloat16_is_close(model):
    low = type(model)(model.config, dtype="mixed_bfloat16")
    low.set_weights(model.get_weights())
    chunk = random_chunk(6, seed=3)
    hidden = append(Decoder(low, longest=LONGEST), {0: chunk})
    assert hidden.dtype == tf.bfloat16
    difference = np.abs(np.asarray(hidden[0], np.float32) - uncached(model, chunk)[-1])
    assert 0 < difference.max() < 0.3


@pytest.mark.parametrize(
    ("name", "options"), [("rows", {"rows": 0}), ("window", {"window": 0}), ("longest", {"longest": 0})]
)
def test_numbers_below_one_are_refused(model, name, options):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, not 0"):
        Decoder(model, **options)


class TestChoose:
    @pytest.fixture
    def hidden(self):
        return np.random.default_rng(0).normal(size=(3, CONFIG.width)).astype(np.float32)

    @pytest.fixture
    def choose(self, decoder):
        return tf.function(decoder.choose, autograph=False)

    def logits(self, model, hidden, low, high):
        return model.token_embedding.logits(hidden).numpy()[:, low:high]

    def draws(self, decoder, choose, hidden, temperature, count, top_k=0):
        """int[count, 3] in [10, 17), each with its own seed, all for the first row's `hidden`."""
        same, drawn = np.repeat(hidden[:1], 3, 0), []
        for seed in range(count):
            decoder.seeds.assign(np.arange(3) + 3 * seed)
            drawn.append(choose(same, 10, 17, temperature, top_k).numpy())
        return np.array(drawn)

    def test_the_likeliest_of_the_legal_ids(self, model, choose, hidden):
        chosen = choose(hidden, 10, 17, 0.0).numpy()
        assert chosen.tolist() == (10 + self.logits(model, hidden, 10, 17).argmax(1)).tolist()
        everywhere = choose(hidden, 0, CONFIG.vocabulary_size, 0.0).numpy()
        assert everywhere.tolist() == self.logits(model, hidden, 0, None).argmax(1).tolist() != chosen.tolist()

    def test_draws_follow_the_softmax(self, model, decoder, choose, hidden):
        logits = self.logits(model, hidden, 10, 17)[0]
        expected = np.exp(logits) / np.exp(logits).sum()
        drawn = self.draws(decoder, choose, hidden, 1.0, 400)
        shares = np.bincount(drawn.ravel() - 10, minlength=7) / drawn.size
        assert np.abs(shares - expected).max() < 0.06  # 1200 draws: four standard deviations
        assert np.abs(expected - 1 / 7).max() > 0.12

    def test_a_draw_depends_on_its_rows_seed_and_count(self, decoder, choose, hidden):
        same = np.repeat(hidden[:1], 3, 0)
        decoder.counts.assign([7, 7, 8])
        decoder.seeds.assign([5, 5, 5])
        first = choose(same, 0, 42, 50.0).numpy()
        assert first[0] == first[1] != first[2]
        decoder.seeds.assign([5, 6, 7])
        second = choose(same, 0, 42, 50.0).numpy()
        assert second[0] == first[0]
        assert second[1] != first[1]

    def test_the_mean_of_the_legal_ids_is_not_the_likeliest(self, model, decoder, choose, hidden):
        logits = self.logits(model, hidden, 10, 17)
        shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        expected = 10 + np.round(shares @ np.arange(7))
        for temperature in 0.0, 50.0:
            assert choose(hidden, 10, 17, temperature, mean=True).numpy().tolist() == expected.tolist()
        assert expected.tolist() != choose(hidden, 10, 17, 0.0).numpy().tolist()

    def test_among_the_likeliest(self, model, decoder, choose, hidden):
        best = 10 + np.argsort(self.logits(model, hidden, 10, 17)[0])[::-1]
        assert set(self.draws(decoder, choose, hidden, 50.0, 30, top_k=2).ravel()) == set(best[:2])
        assert set(self.draws(decoder, choose, hidden, 50.0, 30, top_k=99).ravel()) == set(best)
