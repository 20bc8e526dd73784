"""ListingV2: meta/episodes.jsonl of LeRobot v2.0 and v2.1, which has a data file and videos for each episode."""

import io
import os
from collections.abc import Iterator, Sequence
from typing import Any

from pipelines.sources.formats import lines
from pipelines.sources.formats.files import hashed
from pipelines.sources.lerobot.info import Info
from pipelines.sources.lerobot.listing import Listed, Row, checked_numbers

EPISODES = "meta/episodes.jsonl"


class ListingV2:
    """A line of JSON for each episode; a line that is wrong costs that episode. See `Listing`."""

    def __init__(self, folder: str, info: Info, videos: Sequence[str]) -> None:
        self._path, self._info, self._videos = os.path.join(folder, EPISODES), info, videos
        self.inputs: list[dict[str, Any]] = []
        self.lost: list[str] = []
        self.notes: list[str] = []

    def listed(self) -> list[Listed]:
        with hashed(self._path) as file:
            data = b"".join(iter(file.read, b""))
            source = file.fingerprint()
        self.inputs.append(source)
        found, start = [], 0
        for number, line in enumerate(io.BytesIO(data), 1):
            content = {**lines.line_range(source, start, start + len(line), number), "count": 1}
            start += len(line)
            if line.strip():
                found.append(Listed(content, *self._numbers(line)))
        return found

    def _numbers(self, line: bytes) -> tuple[int, int]:
        try:
            said = lines.object_of(lines.text_of(line, self._path), self._path)
            return checked_numbers(said.get("episode_index"), said.get("length"), self._path)
        except ValueError:
            return -1, 0

    def rows(self, content: dict[str, Any]) -> Iterator[tuple[int, Row | ValueError]]:
        for line in lines.read(content):  # type: ignore[arg-type]
            if line.data.strip():
                try:
                    yield line.number, self._row(line.data, f"{self._path}, line {line.number}")
                except ValueError as error:
                    yield line.number, error

    def _row(self, data: bytes, where: str) -> Row:
        said = lines.object_of(lines.text_of(data, where), where)
        index, length = checked_numbers(said.get("episode_index"), said.get("length"), where)
        tasks = said.get("tasks")
        return Row(
            index,
            length,
            tuple(map(str, tasks if isinstance(tasks, list) else [])),
            data=self._info.data_file(episode_index=index),
            following="",
            videos={key: self._info.video_file(key, episode_index=index) for key in self._videos},
            starts=dict.fromkeys(self._videos, 0.0),
            stops={},
        )

    def join(self, one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any] | None:
        joined = {**one, "stop": two["stop"], "count": one["count"] + two["count"]}
        return joined if one["stop"] == two["start"] else None
