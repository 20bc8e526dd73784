"""Row: what meta/ says of an episode. A plan names rows by a short JSON, and a worker reads these rows again."""

import dataclasses
import os
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from pipelines.sources.formats import places
from pipelines.sources.lerobot.info import MAX_EPISODES


@dataclasses.dataclass(frozen=True)
class Row:
    """An episode. data, videos: paths below the dataset's folder. following: the data file in which it goes on if
    `data` ends before it. starts, stops: {video: the second of its file at which the episode begins or ends}."""

    index: int
    length: int
    tasks: tuple[str, ...]
    data: str
    following: str
    videos: Mapping[str, str]
    starts: Mapping[str, float]
    stops: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Listed:
    """A row as it is planned: the JSON that finds it again, the episode's number (-1: unknown) and its length."""

    content: dict[str, Any]
    index: int
    length: int


class Listing(Protocol):
    """The list of episodes in one version of the format. inputs: the fingerprints of its files; lost: a line for each
    that cannot be read; notes: a line for each assumption. All three are known after `listed`."""

    inputs: list[dict[str, Any]]
    lost: list[str]
    notes: list[str]

    def listed(self) -> list[Listed]:
        """Read the list for a plan. Raises SourceError if there is none, or a column is missing."""

    def rows(self, content: dict[str, Any]) -> Iterator[tuple[int, Row | ValueError]]:
        """Yield (number in its file, row or what is wrong with it) of the rows that a content names. Raises ValueError
        if the file has changed since it was planned."""

    def join(self, one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any] | None:
        """The content of two that follow each other in a file; None if they do not. See `pieces.pack`."""


def checked_numbers(index: Any, length: Any, where: str) -> tuple[int, int]:
    """Return an episode's number and length. Raises ValueError if these are none."""
    if type(index) is not int or type(length) is not int or not 0 <= index < MAX_EPISODES or length < 0:
        raise ValueError(f"{where}: episode_index and length must be whole numbers, not {index!r} and {length!r}")
    return index, length


def files_below(folder: str, ending: str) -> list[str]:
    """The files of an ending below a folder, in byte order of their paths."""
    names = (name for name, _ in places.files_below(folder) if name.endswith(ending))
    return sorted((os.path.join(folder, name) for name in names), key=os.fsencode)
