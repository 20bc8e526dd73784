import numpy as np
import pytest
from toy_acting import STEP, demonstration, random_chunk

from gato_model.acting.chunk import Chunk, batch
from gato_tokenize.sequence import ACTION_POSITION, NO_POSITION

NAMES = ("ids", "positions", "places", "patches", "intervals")


def same(one, two):
    return all(np.array_equal(getattr(one, name), getattr(two, name)) for name in NAMES)


def test_a_timestep_by_hand():
    sequence = demonstration(2)
    chunk = Chunk.of_sequence(sequence, quantization=16)
    assert len(chunk) == 2 * STEP
    assert chunk.places.tolist() == [0, 7]  # a picture of one patch, before the digit and the joint
    assert chunk.positions.tolist() == [0, 1, 2, 3, NO_POSITION, ACTION_POSITION, ACTION_POSITION] * 2
    assert chunk.intervals.tolist() == [[0, 16, 0, 16]] * 2
    assert np.array_equal(chunk.patches, sequence.patches)


def test_two_chunks_in_a_batch_by_hand():
    first, second = Chunk.of_ids([5, 6], 3), random_chunk(3, seed=0, patch_fraction=0.99)
    second.places[:] = [0, 1, 2]
    made = batch({0: first, 2: second}, rows=3)
    assert list(made) == ["tokens", "local_positions", "lengths", "patches", "patch_index", "patch_intervals"]
    assert made["tokens"].tolist() == [[5, 6, 0], [0, 0, 0], [0, 0, 0]]
    assert made["local_positions"][0].tolist() == [3, 3, 0]
    assert made["lengths"].tolist() == [2, 0, 3]
    assert made["patch_index"].tolist() == [6, 7, 8]
    assert np.array_equal(made["patches"], second.patches)
    assert all(array.dtype == np.int32 for name, array in made.items() if name != "patches")


def test_a_batch_without_patches_has_one_that_is_padding():
    made = batch({1: Chunk.of_ids([5, 6], 3)}, rows=2)
    assert made["patches"].shape == (1, 16, 16, 3)
    assert made["patch_index"].tolist() == [4]  # after the last place


@pytest.mark.parametrize("cuts", [(0, 20), (0, 1, 20), (0, 7, 8, 13, 20), (0, 0, 20, 20)])
def test_pieces_join_to_the_whole(cuts):
    whole = random_chunk(20, seed=1, patch_fraction=0.5)
    pieces = [whole.slice(start, stop) for start, stop in zip(cuts, cuts[1:], strict=False)]
    assert same(Chunk.join(pieces), whole)


def test_a_sequence_and_its_timesteps_are_the_same_chunks():
    sequence = demonstration(3)
    steps = [Chunk.of_sequence(sequence.steps(i, i + 1), 16) for i in range(3)]
    assert same(Chunk.join(steps), Chunk.of_sequence(sequence, 16))
