"""Edges of TokenSequence that the tests by hand do not reach: changes of the code that no other test noticed."""

import dataclasses

import numpy as np
import pytest

from gato_tokenize import Kind, TokenSequence
from gato_tokenize.sequence import ACTION_POSITION, NO_POSITION


def two_patches(**changed: object) -> TokenSequence:
    arrays = {
        "ids": np.zeros(2, np.int32),
        "kinds": np.full(2, Kind.PATCH, np.uint8),
        "loss_mask": np.zeros(2, np.uint8),
        "step_splits": np.array([0, 2]),
        "patches": np.zeros((2, 16, 16, 3), np.uint8),
        "grids": np.array([[1, 2]], np.int32),
    }
    return TokenSequence(**{**arrays, **changed})  # type: ignore[arg-type]


def test_no_index_of_a_token_is_taken_for_a_special_position() -> None:
    assert (NO_POSITION, ACTION_POSITION) == (-1, -2)


def test_splits_have_one_axis() -> None:
    with pytest.raises(ValueError, match="step_splits must rise from 0 to at most 2"):
        two_patches(step_splits=np.array([[0, 2]]))


def test_a_grid_has_two_numbers() -> None:
    with pytest.raises(ValueError, match="2 patch tokens, but image grids"):
        two_patches(grids=np.array([[1, 2, 1]], np.int32))


def test_it_equals_nothing_of_another_type() -> None:
    assert (two_patches() == "a sequence") is False and two_patches() != 3


def test_its_arrays_cannot_be_exchanged() -> None:
    sequence = two_patches()
    with pytest.raises(dataclasses.FrozenInstanceError):
        sequence.ids = np.ones(2, np.int32)  # type: ignore[misc]
