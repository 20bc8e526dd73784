"""The images that a MiniGrid environment shows: its grid as three values a cell, as one value a cell, or as pixels."""

import functools
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

from gato_tokenize.arrays import plain_array
from gato_tokenize.modalities.array_checks import index_of_first

IMAGES = ("symbolic", "cells", "rgb")  # the images that a MiniGrid environment can show, the default first


def with_image(environment: Any, image: str) -> Any:
    """Wrap an environment so that it shows one of IMAGES; for "", or the one that it shows by itself, return it."""
    if image == "rgb":
        from minigrid.wrappers import RGBImgPartialObsWrapper

        return RGBImgPartialObsWrapper(environment, tile_size=8)  # uint8[56, 56, 3]
    return CellIds(environment) if image == "cells" else environment


class CellIds(gymnasium.ObservationWrapper):  # type: ignore[misc]
    """A MiniGrid environment whose `image` is one number a cell instead of three: a third of the tokens."""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        spaces = environment.observation_space.spaces
        count, shape = int(np.prod(_cell_sizes())), spaces["image"].shape[:-1]
        box = gymnasium.spaces.Box(0, count - 1, shape, np.int64)
        self.observation_space = gymnasium.spaces.Dict({**spaces, "image": box})

    def observation(self, observation: Any) -> Any:
        return {**observation, "image": cell_ids(observation["image"])}


def cell_ids(grid: ArrayLike) -> NDArray[np.int64]:
    """Number MiniGrid's cells: (object, colour, state) int[..., 3] -> int64[...], (object * 6 + colour) * 4 + state.

    The result is below 264; the sizes are minigrid's own.

    >>> cell_ids([[1, 0, 0], [4, 5, 2]])  # an empty cell, a locked grey door
    array([ 24, 118])

    Raises ValueError naming the first cell with a number that minigrid does not know.
    """
    sizes, cells = _cell_sizes(), plain_array(grid, np.int64, "cell")
    wrong = np.asarray(((cells < 0) | (cells >= sizes)).any(axis=-1))
    if wrong.any():
        at = index_of_first(wrong)
        raise ValueError(f"cell {at} is {cells[at].tolist()}: object, colour, state must be below {sizes}")
    return np.asarray((cells[..., 0] * sizes[1] + cells[..., 1]) * sizes[2] + cells[..., 2])


@functools.cache
def _cell_sizes() -> tuple[int, int, int]:
    """Count minigrid's objects, colours and states; an agent's state is its direction."""
    from minigrid.core.constants import COLOR_TO_IDX, DIR_TO_VEC, OBJECT_TO_IDX, STATE_TO_IDX

    objects, colours, states = (max(table.values()) + 1 for table in (OBJECT_TO_IDX, COLOR_TO_IDX, STATE_TO_IDX))
    return objects, colours, max(states, len(DIR_TO_VEC))
