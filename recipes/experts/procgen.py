"""The shortest way through Procgen's mazes, for `rollouts:recipes.environments.procgen:Procgen/maze-easy-v0`."""

from collections.abc import Callable
from typing import Any

from recipes.environments.procgen import CHEESE, MOVES, moved


def maze(environment: Any) -> Callable[[Any], int]:
    """Take the first step of a shortest way from where the mouse is to the cheese."""
    game = environment.unwrapped

    def act(observation: Any) -> int:
        first: dict[tuple[int, int], int] = {game.mouse: 0}  # the first action on the way to each cell that was reached
        queue = [game.mouse]
        for cell in queue:
            if game.grid[cell] == CHEESE:
                return first[cell]
            for action in MOVES:
                reached = moved(game.grid, cell, action)
                if reached not in first:
                    first[reached] = action if cell == game.mouse else first[cell]
                    queue.append(reached)
        raise ValueError("no way leads to the cheese")

    return act
