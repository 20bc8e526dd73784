"""ListingV3: the tables meta/episodes/*/*.parquet of LeRobot v3.0, which has many episodes in a data file or video."""

import functools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipelines.sources.errors import SourceError
from pipelines.sources.formats.files import hashed
from pipelines.sources.formats.parquet import ParquetTable
from pipelines.sources.formats.places import is_file, require_unchanged
from pipelines.sources.lerobot.info import Info
from pipelines.sources.lerobot.listing import Listed, Row, checked_numbers, files_below

EPISODES = "meta/episodes"
WRITER = "LeRobot v3.0"
BATCH = 1024  # rows that are Python's objects at once
_PLACE = ("chunk_index", "file_index")


class ListingV3:
    """A row of a table for each episode; a table that cannot be read is `lost` with its episodes. See `Listing`."""

    def __init__(self, folder: str, info: Info, videos: Sequence[str]) -> None:
        self._folder, self._info, self._videos = folder, info, videos
        self.inputs: list[dict[str, Any]] = []
        self.lost: list[str] = []
        self.notes: list[str] = []
        self._there: dict[str, bool] = {}  # whether a data file exists, by its path

    @functools.cached_property
    def _paths(self) -> list[str]:
        found = files_below(os.path.join(self._folder, EPISODES), ".parquet")
        if not found:
            raise SourceError(f"{self._folder}: {EPISODES} has no .parquet file, in which {WRITER} lists the episodes")
        return found

    def listed(self) -> list[Listed]:
        found, assumed = [], False
        for path in self._paths:
            with hashed(path) as file:
                self.inputs.append(file.fingerprint())
            if (numbers := self._numbers(path)) is None:
                continue
            assumed |= numbers[2]
            for row, (index, length) in enumerate(zip(*numbers[:2], strict=True)):
                said = {name: value for name, value in self.inputs[-1].items() if name != "sha256"}
                content = {**said, "row": row, "count": 1}
                found.append(Listed(content, -1 if index is None else index, length or 0))
        if assumed:
            self.notes.append(f"{EPISODES} names no files: the data files, in order, are taken for one episode each")
        return found

    def _numbers(self, path: str) -> tuple[list[int | None], list[int | None], bool] | None:
        """(the number of each episode in a table, its length, whether the places of its files are assumed); None if
        the table is lost. The table is let go, because the footer of many row groups takes hundreds of megabytes."""
        try:
            table = ParquetTable(path)
        except ValueError as error:
            self.lost.append(str(error))
            return None
        try:
            columns = self._columns(table)
            index, length = (table.read([name]).column(name).to_pylist() for name in columns[:2])
        except ValueError as error:
            raise SourceError(str(error)) from error
        return index, length, not self._states_files(table)

    def _columns(self, table: ParquetTable) -> list[str]:
        """The columns to read. Raises ValueError naming those that are missing, unless `_by_order` stands for them."""
        columns = ["episode_index", "length"]
        if self._states_files(table) or self._by_order is None:
            columns += [f"data/{name}" for name in _PLACE]
            for key in self._videos:
                columns += [f"videos/{key}/{name}" for name in (*_PLACE, "from_timestamp", "to_timestamp")]
        table.require(columns, WRITER)
        return columns + (["tasks"] if "tasks" in table.columns else [])

    def _states_files(self, table: ParquetTable) -> bool:
        return any(f"data/{name}" in table.columns for name in _PLACE)

    @functools.cached_property
    def _by_order(self) -> list[dict[str, int]] | None:
        """The place of each episode's files, in order, if each has a data file; for tables that do not state it. Other
        programs write such tables. Each row of a data file names its episode, and is checked by that."""
        stored = sum(table.rows for path in self._paths if (table := _readable(path)))
        form = re.escape(self._info.data_path)
        for name in _PLACE:
            form = re.sub(rf"\\{{{name}(:\w+)?\\}}", rf"(?P<{name}>\\d+)", form, count=1)
        top = os.path.join(self._folder, "")
        names = [path.removeprefix(top) for path in files_below(f"{top}data", ".parquet")]
        found = [place.groupdict() for name in names if (place := re.fullmatch(form, name))]
        places = sorted(
            ({name: int(place[name]) for name in _PLACE} for place in found), key=lambda p: tuple(p.values())
        )
        return places if len(places) == stored else None

    def rows(self, content: dict[str, Any]) -> Iterator[tuple[int, Row | ValueError]]:
        path = content["uri"]
        require_unchanged(path, content["bytes"], content)
        said = self._read(content)
        for start in range(0, content["count"], BATCH):
            for number, row in enumerate(said.slice(start, BATCH).to_pylist(), content["row"] + start):
                try:
                    yield number, self._row(row, f"{path}, row {number}")
                except ValueError as error:
                    yield number, error

    def _read(self, content: dict[str, Any]) -> Any:
        table = ParquetTable(content["uri"])
        return table.read(self._columns(table), content["row"], content["row"] + content["count"])

    def _row(self, said: dict[str, Any], where: str) -> Row:
        index, length = checked_numbers(said["episode_index"], said["length"], where)
        if "data/chunk_index" not in said:
            said = {**said, **self._ordered(index, where)}
        data = _placed(said, "data", where)
        starts, stops = ({key: said[f"videos/{key}/{end}_timestamp"] for key in self._videos} for end in ("from", "to"))
        if missing := [key for key, start in starts.items() if start is None]:
            raise ValueError(f"{where}: nothing says where the episode begins in the video of {', '.join(missing)}")
        return Row(
            index,
            length,
            tuple(map(str, said.get("tasks") or ())),
            data=self._info.data_file(**data),
            following=self._following(data),
            videos={key: self._info.video_file(key, **_placed(said, f"videos/{key}", where)) for key in self._videos},
            starts=starts,
            stops={key: stop for key, stop in stops.items() if stop is not None},
        )

    def _ordered(self, index: int, where: str) -> dict[str, Any]:
        """What a row would say of the files of an episode that has files of its own."""
        places = self._by_order or []
        if index >= len(places):
            raise ValueError(f"{where}: episode {index} would have a data file of its own, and there are {len(places)}")
        names = ["data", *(f"videos/{key}" for key in self._videos)]
        said: dict[str, Any] = {f"{name}/{key}": number for name in names for key, number in places[index].items()}
        return said | {f"{name}/{end}_timestamp": at for name in names for end, at in (("from", 0.0), ("to", None))}

    def _following(self, numbers: Mapping[str, int]) -> str:
        """The data file after one: the next of its chunk, or the first of the next chunk; "" after the last."""
        chunk, file = (numbers[name] for name in _PLACE)
        for place in ((chunk, file + 1), (chunk + 1, 0)):
            path = self._info.data_file(**dict(zip(_PLACE, place, strict=True)))
            if path not in self._there:
                self._there[path] = is_file(os.path.join(self._folder, path))
            if self._there[path]:
                return path
        return ""

    def join(self, one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any] | None:
        follows = one["uri"] == two["uri"] and one["row"] + one["count"] == two["row"]
        return {**one, "count": one["count"] + two["count"]} if follows else None


def _placed(said: Mapping[str, Any], what: str, where: str) -> dict[str, int]:
    numbers = {name: said[f"{what}/{name}"] for name in _PLACE}
    if any(type(number) is not int or number < 0 for number in numbers.values()):
        raise ValueError(f"{where}: {what} has the numbers {list(numbers.values())}, which name no file")
    return numbers


def _readable(path: str) -> ParquetTable | None:
    try:
        return ParquetTable(path)
    except ValueError:
        return None
