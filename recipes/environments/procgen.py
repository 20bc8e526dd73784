"""Procgen's mazes: a mouse looks for cheese, seen as a picture of 64x64; a level is made for each seed.

Procgen's package asks for a numpy below 2, and works with newer ones: it is installed without what it asks for. What it
really needs comes with the extra `recipes`.
"""

import contextlib
import io
import warnings
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
    warnings.simplefilter("ignore")  # Gym says at each import that it is no longer maintained
    try:
        from procgen import ProcgenGym3Env
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error}; Procgen is in no extra: `pip install --no-deps procgen-mirror==0.10.7 gym3==0.3.3` beside the"
            " extra `recipes` installs it on x86-64 Linux, for Python up to 3.12"
        ) from error

SIZE = 15  # cells on a side of the world; a maze fills it or lies in its middle
WALL, CHEESE = 51, 2  # Procgen's own numbers of what is in a cell
# What an action adds to the mouse's row, counted from below, and to its column.
MOVES = {1: (0, -1), 3: (-1, 0), 5: (1, 0), 7: (0, 1)}
_SIDEWAYS = {0: 1, 2: 1, 6: 7, 8: 7}  # action of two directions: the one that Procgen takes of it in a maze


class Maze(gymnasium.Env[NDArray[np.uint8], int]):
    """Observation: uint8[64, 64, 3], RGB. Action: 0 to 14, Procgen's; 1, 3, 5, 7 are left, down, up, right.

    The reward is 10 when the mouse reaches the cheese, which ends the episode and sets info["success"]; after 500 steps
    Procgen gives up. It shows the next level at once, so that the last observation is the one before the last step.
    """

    metadata = {"render_modes": ["rgb_array"]}

    def __init__(self, difficulty: str, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self._difficulty = difficulty
        self._game: Any = None
        self.observation_space = gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)
        self.action_space = gymnasium.spaces.Discrete(15)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.close()
        self._game = ProcgenGym3Env(
            num=1,
            env_name="maze",
            distribution_mode=self._difficulty,
            start_level=int(self.np_random.integers(2**31 - 1)),
            num_levels=1,
            rand_seed=0,
        )
        self.grid = self._cells()
        row, column = np.argwhere(self.grid != WALL).min(0)  # the mouse starts in the maze's lower left corner
        self.mouse = int(row), int(column)
        self._frame = self._observe()[1]
        return self._frame, {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.mouse = moved(self.grid, self.mouse, _SIDEWAYS.get(int(action), int(action)))
        self._game.act(np.array([action]))
        reward, frame, over = self._observe()
        success = over and reward > 0
        if not over:
            self._frame = frame
        return self._frame, reward, success, over and not success, {"success": success}

    def render(self) -> NDArray[np.uint8]:
        """Return the observation."""
        return self._frame

    def close(self) -> None:
        if self._game is not None:
            self._game.close()
            self._game = None

    def _observe(self) -> tuple[float, NDArray[np.uint8], bool]:
        reward, observation, first = self._game.observe()
        return float(reward[0]), observation["rgb"][0].copy(), bool(first[0])

    def _cells(self) -> NDArray[np.int32]:
        """Read the cells from the saved state, int32[15, 15], the lowest row first."""
        (state,) = self._game.callmethod("get_state")
        head = np.array([SIZE, SIZE, SIZE * SIZE], np.int32).tobytes()  # width, height, number of cells
        if state.count(head) != 1:
            raise RuntimeError(
                "Procgen's saved state has no maze where that of 0.10.7 has it: install procgen-mirror==0.10.7"
            )
        return np.frombuffer(state, np.int32, SIZE * SIZE, state.index(head) + len(head)).reshape(SIZE, SIZE)


def moved(grid: NDArray[np.int32], cell: tuple[int, int], action: int) -> tuple[int, int]:
    """Return the cell in which the mouse is after an action: the same if that is no move, or a wall is in the way."""
    row, column = (place + step for place, step in zip(cell, MOVES.get(action, (0, 0)), strict=True))
    inside = 0 <= row < SIZE and 0 <= column < SIZE
    return (row, column) if inside and grid[row, column] != WALL else cell


gymnasium.register("Procgen/maze-easy-v0", Maze, kwargs={"difficulty": "easy"}, order_enforce=False)
