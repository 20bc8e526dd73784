"""Checkpoint: the files of one logged replay buffer, and which of its rows are new in which order.

Dopamine's replay buffer is a ring of N rows. It was logged whenever `add_count`, the number of rows added so far, was
one below a multiple of N. So the last row of a file is older than the others: it follows the rows of the file before.
In the first file that row was never written. A buffer that is logged when training ends holds few new rows, `add_count`
then is its place in the ring, and the other rows are those of the file before. The files `add_count_ckpt` tell all
this; without them, rows are taken as they stand.
"""

import dataclasses
import glob
import itertools
import os
import re
from collections.abc import Iterable
from typing import Literal

from gato_tokenize.storage.address import RemoteError, full, is_address
from pipelines.sources.dqn_replay.row_stream import RowStream, read_number
from pipelines.sources.errors import SourceError
from pipelines.sources.formats.places import Size, files_in_folder, matching_addresses, plain_name

ARRAYS = ("observation", "action", "reward", "terminal")
LOGS = "replay_logs"
_NAME = re.compile(r"(?:\$store\$_(observation|action|reward|terminal)|(add_count))_ckpt\.(\d+)\.gz")

Order = Literal["auto", "rows", "ring"]


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The files `$store$_ARRAY_ckpt.NUMBER.gz` of a folder. sizes: {name of a file that there is: its bytes}."""

    folder: str
    number: int
    sizes: dict[str, Size]

    def name(self, array: str) -> str:
        return f"{'' if array == 'add_count' else '$store$_'}{array}_ckpt.{self.number}.gz"

    def path(self, array: str) -> str:
        return os.path.join(self.folder, self.name(array))

    def stream(self, array: str) -> RowStream:
        """The rows of an array; the file may be missing."""
        return RowStream(self.path(array), self.sizes.get(self.name(array)))

    def add_count(self) -> int | None:
        """The number of rows that were added to the buffer before it was logged; None if no file tells it."""
        size = self.sizes.get(self.name("add_count"))
        return None if size is None else read_number(self.path("add_count"), size)


@dataclasses.dataclass(frozen=True)
class NewRows:
    """Which rows of a file no file before it holds. ranges: (start, stop) of rows, in the order of time. joined: the
    first of them follows the last one of the file before. count: rows that were added when the last of them was."""

    ranges: tuple[tuple[int, int], ...]
    joined: bool
    count: int


def new_rows(rows: int, number: int, added: int | None, before: tuple[int, int] | None, order: Order) -> NewRows:
    """Find the new rows of a file of so many rows. added: its add_count. before: (number, count of its `NewRows`) of
    the file before it that there is, or None.

    >>> new_rows(10, 0, 9, None, "auto"), new_rows(10, 1, 19, (0, 9), "auto").ranges
    (NewRows(ranges=((0, 9),), joined=True, count=9), ((9, 10), (0, 9)))
    >>> new_rows(10, 2, 4, (1, 19), "auto"), new_rows(10, 2, None, (1, 20), "auto").ranges
    (NewRows(ranges=((9, 10), (0, 4)), joined=True, count=24), ((0, 10),))
    """
    follows = before is not None and before[0] == number - 1
    if order == "rows" or (order == "auto" and added is None):
        return NewRows(((0, rows),), follows or number == 0, (before[1] if before and follows else 0) + rows)
    if added is None:
        added = (number + 1) * rows - 1
    known = before[1] if before and follows else None
    if known is not None and added < known:  # the last one, in which add_count is a place in the ring
        added = known + (added - known) % rows
    first = max(known or 0, added - rows)
    if known is None and number > 0 and added < rows:
        first = 0  # the last one, and that before it is missing
    joined = first == known if known is not None else number == 0 and first == 0
    if first == added:
        return NewRows((), joined, added)
    start, stop = first % rows, (added - 1) % rows + 1
    ranges = ((start, stop),) if start < stop else ((start, rows), (0, stop))
    return NewRows(ranges, joined, added)


def run_folders(argument: str) -> list[str]:
    """The folders of files that an argument names, which may be a pattern of folders, in byte order; each may be the
    one that holds `replay_logs`. Raises SourceError if there is none."""
    folders = _folders_at(full(argument)) if is_address(argument) else _local_folders(argument)
    if not folders:
        raise SourceError(
            f"{argument} holds no files like $store$_observation_ckpt.0.gz, nor does its {LOGS}: give the folder that"
            " does, such as dqn/Pong/1/replay_logs, or a pattern of such folders"
        )
    return folders


def _local_folders(argument: str) -> list[str]:
    found = [argument] if os.path.isdir(argument) else sorted(glob.glob(argument), key=os.fsencode)
    folders: dict[str, str] = {}
    for folder in found:
        for one in (folder, os.path.join(folder, LOGS)):
            if has_checkpoints(one):
                folders.setdefault(os.path.realpath(one), one)
    return list(folders.values())


def _folders_at(argument: str) -> list[str]:
    top = argument.rstrip("/")
    files = [path for folder in (top, f"{top}/{LOGS}") for path in matching_addresses(f"{folder}/*_ckpt.*.gz")]
    named = {os.path.dirname(path) for path in files if _NAME.fullmatch(plain_name(path))}
    return sorted(named, key=os.fsencode)


def has_checkpoints(folder: str) -> bool:
    return any(_NAME.fullmatch(name) for name in _names(folder))


def checkpoints(folder: str) -> list[Checkpoint]:
    """The checkpoints of a folder that have at least one array, by number."""
    sizes: dict[int, dict[str, Size]] = {}
    stored: set[int] = set()
    for path, size in files_in_folder(folder).items():
        name = plain_name(path)
        if match := _NAME.fullmatch(name):
            sizes.setdefault(int(match[3]), {})[name] = size
            stored |= {int(match[3])} if match[1] else set()
    return [Checkpoint(folder, number, sizes[number]) for number in sorted(stored)]


def missing_numbers(found: Iterable[Checkpoint]) -> list[str]:
    """The numbers below the last of some checkpoints that none has, as "3" or "5 to 7"."""
    numbers = [one.number for one in found]
    gaps = [(before + 1, after - 1) for before, after in itertools.pairwise([-1, *numbers]) if after - before > 1]
    return [f"{first} to {last}" if first < last else f"{first}" for first, last in gaps]


def game_of(folder: str) -> str:
    """The name of the game, as the folder's path tells it.

    >>> game_of("dqn/Pong/1/replay_logs"), game_of("dqn/Pong/1"), game_of("Pong/")
    ('Pong', 'Pong', 'Pong')
    """
    parts = [part for part in os.path.abspath(folder).split(os.sep) if part]
    names = [part for part in reversed(parts) if part != LOGS and not part.isdecimal()]
    return names[0] if names else "dqn-replay"


def frame_of(found: Iterable[Checkpoint]) -> RowStream:
    """The pictures of the first checkpoint of which they can be described. Raises ValueError if there is none."""
    fault: Exception | None = None
    for one in found:
        stream = one.stream("observation")
        try:
            _ = stream.shape
            return stream
        except RemoteError:
            raise
        except (ValueError, OSError) as error:
            fault = fault or error
        finally:
            stream.close()
    raise ValueError(f"no observation can be read: {fault}")


def _names(folder: str) -> list[str]:
    return os.listdir(folder) if os.path.isdir(folder) else []
