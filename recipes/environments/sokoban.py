"""Sokoban: boxes are pushed onto targets, in rooms that gym-sokoban generates.

gym-sokoban is made for the old Gym: this module gives Gymnasium its rules and its rooms, seen as a grid of numbers.
"""

import contextlib
import io
import random
import warnings
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
    warnings.simplefilter("ignore")  # Gym and pkg_resources say at each import that they are no longer maintained
    from gym_sokoban.envs.sokoban_env import SokobanEnv

WALL, FLOOR, TARGET, BOX_ON_TARGET, BOX, PLAYER, PLAYER_ON_TARGET = range(7)
MOVES = (-1, 0), (1, 0), (0, -1), (0, 1)  # up, down, left, right: what action i adds to the player's row and column


class _Room(SokobanEnv):
    """gym-sokoban's environment, without a picture of every step."""

    def render(self, mode: str = "human", close: Any = None, scale: int = 1) -> None:
        return None


class Sokoban(gymnasium.Env[NDArray[np.int64], int]):
    """Observation: int64[size, size], the cells as numbered above. Action: 0 to 3, up, down, left, right.

    Rewards are gym-sokoban's: -0.1 a step, 1 for a box that is pushed onto a target, -1 for one pushed off, 10 at the
    end. info["success"] says whether all boxes are on targets.
    """

    metadata = {"render_modes": ["rgb_array"]}

    def __init__(self, size: int, boxes: int, max_steps: int = 120, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self._room = _Room((size, size), max_steps, boxes, reset=False)
        self.observation_space = gymnasium.spaces.Box(0, PLAYER_ON_TARGET, (size, size), np.int64)
        self.action_space = gymnasium.spaces.Discrete(len(MOVES))

    @property
    def grid(self) -> NDArray[np.int64]:
        """The observation: gym-sokoban's own numbers hide a target on which the player stands.

        It is a copy: by the room's numbers gym-sokoban tells whether the room is solved.
        """
        grid = np.array(self._room.room_state, np.int64)
        grid[(grid == PLAYER) & (self._room.room_fixed == TARGET)] = PLAYER_ON_TARGET
        return grid

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        before = random.getstate(), np.random.get_state()
        draw = int(self.np_random.integers(2**32))
        random.seed(draw)  # gym-sokoban draws from the global generators
        np.random.seed(draw)
        with contextlib.redirect_stdout(io.StringIO()):  # it prints each room that it throws away
            self._room.reset()
        random.setstate(before[0])
        np.random.set_state(before[1])
        return self.grid, {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        _, reward, done, _ = self._room.step(int(action) + 1)
        success = bool(self._room.boxes_on_target == self._room.num_boxes)
        return self.grid, float(reward), success, bool(done) and not success, {"success": success}

    def render(self) -> NDArray[np.uint8]:
        """Draw the room: uint8[16 * size, 16 * size, 3]."""
        return np.asarray(self._room.get_image("rgb_array"), np.uint8)


for _size, _boxes in (7, 2), (7, 3):
    gymnasium.register(
        f"Sokoban/{_size}x{_size}-{_boxes}boxes-v0",
        Sokoban,
        kwargs={"size": _size, "boxes": _boxes},
        order_enforce=False,
    )
