"""A solver for Sokoban: A* over pushes, for `rollouts:recipes.environments.sokoban:Sokoban/7x7-2boxes-v0`."""

import heapq
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from recipes.environments.sokoban import BOX, BOX_ON_TARGET, MOVES, PLAYER, PLAYER_ON_TARGET, TARGET, WALL

Cell = tuple[int, int]
Boxes = frozenset[Cell]


def solver(environment: Any) -> Callable[[Any], int]:
    """Plan the whole episode from its first observation, then play the plan."""
    plan: list[int] = []

    def act(observation: Any) -> int:
        if not plan:
            plan.extend(solve(observation))
        return plan.pop(0)

    return act


def solve(grid: Any) -> list[int]:
    """Find the moves that bring every box onto a target with the fewest pushes. Raises ValueError if there are none."""
    walls = _cells(grid, WALL)
    targets = _cells(grid, TARGET, BOX_ON_TARGET, PLAYER_ON_TARGET)
    (start,) = _cells(grid, PLAYER, PLAYER_ON_TARGET)
    boxes = Boxes(_cells(grid, BOX, BOX_ON_TARGET))
    order = itertools.count()  # breaks ties: plans are not compared
    open_: list[tuple[int, int, Cell, Boxes, list[int]]] = [(_least(boxes, targets), next(order), start, boxes, [])]
    pushes, seen = {(start, boxes): 0}, set()
    while open_:
        _, _, player, boxes, moves = heapq.heappop(open_)
        if boxes <= targets:
            return moves
        paths = _paths(player, walls | boxes)
        state = min(paths), boxes  # the player may stand anywhere in the region that it can reach
        if state in seen:
            continue
        seen.add(state)
        for stand, box, move in _pushes(paths, boxes, walls):
            moved = boxes - {box} | {_next(box, move)}
            cost = pushes[player, boxes] + 1
            if cost < pushes.get((box, moved), cost + 1):
                pushes[box, moved] = cost
                plan = [*moves, *paths[stand], move]
                heapq.heappush(open_, (cost + _least(moved, targets), next(order), box, moved, plan))
    raise ValueError("this room cannot be solved")


def _cells(grid: Any, *kinds: int) -> set[Cell]:
    return {(int(row), int(column)) for row, column in np.argwhere(np.isin(grid, kinds))}


def _next(cell: Cell, move: int) -> Cell:
    return cell[0] + MOVES[move][0], cell[1] + MOVES[move][1]


def _least(boxes: Boxes, targets: set[Cell]) -> int:
    """Count the pushes that are needed at the least: each box to the target next to it."""
    return sum(min(abs(row - r) + abs(column - c) for r, c in targets) for row, column in boxes)


def _paths(player: Cell, blocked: set[Cell] | Boxes) -> dict[Cell, list[int]]:
    """Find the shortest moves to each cell that the player reaches without a push."""
    paths: dict[Cell, list[int]] = {player: []}
    for cell in (queue := [player]):
        for move in range(len(MOVES)):
            reached = _next(cell, move)
            if reached not in blocked and reached not in paths:
                paths[reached] = [*paths[cell], move]
                queue.append(reached)
    return paths


def _pushes(paths: dict[Cell, list[int]], boxes: Boxes, walls: set[Cell]) -> Iterator[tuple[Cell, Cell, int]]:
    """Yield (where the player stands, the box, the move) for each push that is possible now."""
    for box in sorted(boxes):
        for move in range(len(MOVES)):
            stand = box[0] - MOVES[move][0], box[1] - MOVES[move][1]
            if stand in paths and _next(box, move) not in walls | boxes:
                yield stand, box, move
