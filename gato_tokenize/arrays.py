"""Arrays from what a user gives, without the values that a mask hides."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


def plain_array(values: Any, dtype: DTypeLike | None = None, name: str = "value") -> NDArray[Any]:
    """Convert as `np.asarray` does, but refuse masked values, whose hidden numbers `np.asarray` would take for real.

    A masked array that hides nothing is legal, and so is a list of such arrays.

    >>> plain_array(np.ma.array([1, 2], mask=False))
    array([1, 2])
    >>> plain_array([np.ma.array([1, 2]), np.ma.array([3, 4], mask=[False, True])])
    Traceback (most recent call last):
    ValueError: value at index [1, 1] is masked: fill it, or leave it out

    Raises ValueError naming the index of the first masked value, and whatever `np.asarray` raises.
    """
    check_unmasked(values, name)
    return np.asarray(values, dtype)


def check_unmasked(values: Any, name: str) -> None:
    """Raise ValueError naming the index of the first value that a mask hides, in an array or in lists of arrays."""
    masked = _first_masked(values)
    if masked is not None:
        where = f" at index {list(masked)}" if masked else ""
        raise ValueError(f"{name}{where} is masked: fill it, or leave it out")


def _first_masked(values: Any) -> tuple[int, ...] | None:
    if isinstance(values, np.ma.MaskedArray):
        hidden = np.argwhere(np.broadcast_to(values.mask, values.shape))
        return tuple(int(i) for i in hidden[0]) if len(hidden) else None
    if not isinstance(values, list | tuple):
        return None
    if not any(issubclass(kind, np.ma.MaskedArray | list | tuple) for kind in set(map(type, values))):
        return None  # most lists hold plain numbers, and their types are found faster than their members are visited
    found = ((i, _first_masked(member)) for i, member in enumerate(values))
    return next(((i, *index) for i, index in found if index is not None), None)
