"""Logged replay buffers in the layout of the DQN replay dataset, written with numpy alone."""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Played = dict[str, NDArray[Any]]  # an episode: its arrays, each with a row for every timestep
ARRAYS = {"observation": np.uint8, "action": np.int32, "reward": np.float32, "terminal": np.uint8}


def play(steps: int, seed: int, side: int = 16) -> Played:
    """An episode of random pictures; no row of it is all zeros."""
    generator = np.random.default_rng(seed)
    return {
        "observation": generator.integers(1, 256, (steps, side, side), dtype=np.uint8),
        "action": generator.integers(0, 18, steps, dtype=np.int32),
        "reward": generator.integers(-1, 2, steps).astype(np.float32),
        "terminal": (np.arange(steps) == steps - 1).astype(np.uint8),
    }


def packed(path: Path, values: Any) -> None:
    with gzip.GzipFile(path, "wb", mtime=0) as file:
        np.save(file, values, allow_pickle=False)


def store(folder: Path, array: str, number: int) -> Path:
    return folder / f"$store$_{array}_ckpt.{number}.gz"


def write_checkpoint(folder: Path, number: int, rows: Played, add_count: int | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for array in ARRAYS:
        packed(store(folder, array, number), rows[array])
    if add_count is not None:
        packed(folder / f"add_count_ckpt.{number}.gz", np.array(add_count))
        packed(folder / f"invalid_range_ckpt.{number}.gz", np.array([0]))


def joined(episodes: Sequence[Played]) -> Played:
    return {array: np.concatenate([one[array] for one in episodes]) for array in ARRAYS}


def write_run(folder: Path, lengths: Sequence[int], rows: int = 20) -> list[Played]:
    """Write episodes of these lengths in files of so many rows, one row after the other; returns the episodes."""
    episodes = [play(length, seed) for seed, length in enumerate(lengths)]
    whole = joined(episodes)
    for number, start in enumerate(range(0, len(whole["action"]), rows)):
        write_checkpoint(folder, number, {array: values[start : start + rows] for array, values in whole.items()})
    return episodes


def log_ring(folder: Path, episodes: Sequence[Played], capacity: int, final: bool = False) -> None:
    """Add episodes row by row to a ring, three rows of zeros before each, and write it as Dopamine's logger does: when
    it lacks one row; and at the end, if `final`, with the place in the ring as its count. Other than Dopamine's, this
    logger does not pass over a log when that row is one of zeros."""
    ring = {array: np.zeros((capacity, *episodes[0][array].shape[1:]), kind) for array, kind in ARRAYS.items()}
    for values in ring.values():
        values[:] = 77  # what was never written
    ring["terminal"][:] = 1
    count = number = 0

    def add(row: dict[str, Any]) -> None:
        nonlocal count, number
        for array, value in row.items():
            ring[array][count % capacity] = value
        count += 1
        if count % capacity == capacity - 1:
            write_checkpoint(folder, number, ring, count)
            number += 1

    for episode in episodes:
        for step in range(len(episode["action"])):
            if step == 0:
                for _ in range(3):
                    add(dict.fromkeys(ARRAYS, 0))
            add({array: values[step] for array, values in episode.items()})
    if final:
        write_checkpoint(folder, number, ring, count % capacity)
