"""Edges of the layout that the tests by hand do not reach: changes of the code that no other test noticed."""

import dataclasses

import pytest

from gato_tokenize.layout import SEPARATOR, arrange


def test_slots_and_arrangements_cannot_be_changed() -> None:
    arrangement = arrange((SEPARATOR,), {"": 1}, steps=2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        SEPARATOR.length = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        arrangement.slots = ()  # type: ignore[misc]
    assert hash(SEPARATOR) == hash(dataclasses.replace(SEPARATOR))
