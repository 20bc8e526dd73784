"""Checks of arrays that the tokenizers share."""

import numpy as np
from numpy.typing import NDArray


def index_of_first(wrong: NDArray[np.bool_]) -> int | tuple[int, ...]:
    """The index of the first True in row-major order: an int in a vector, a tuple in a matrix.

    >>> index_of_first(np.array([[False, False, True]]))
    (0, 2)
    """
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    return index[0] if len(index) == 1 else index


def check_fit(settings: tuple[int, ...], values: tuple[int, ...], name: str) -> None:
    """Raise ValueError unless settings of one shape broadcast against the last axes of values of another."""
    last = values[len(values) - len(settings) :] if len(settings) <= len(values) else ()
    if len(last) != len(settings) or any(s not in (1, v) for s, v in zip(settings, last, strict=True)):
        raise ValueError(f"{name} of shape {settings} does not fit the last axes of values of shape {values}")
