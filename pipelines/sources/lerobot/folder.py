"""LeRobotFolder: what the folder meta/ of a dataset says. No data file and no video is opened for it."""

import functools
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gato_tokenize.storage.address import full, is_address
from gato_tokenize.storage.remote_file import open_file
from pipelines.sources.errors import SourceError
from pipelines.sources.formats import lines
from pipelines.sources.formats.files import hashed, names_and_sizes
from pipelines.sources.formats.parquet import ParquetTable, texts_of
from pipelines.sources.formats.places import files_below, is_file, is_folder, names_in
from pipelines.sources.lerobot.fields import Range
from pipelines.sources.lerobot.info import Info, parse_info

INFO, MODALITY, STATS = "meta/info.json", "meta/modality.json", "meta/stats.json"
TASKS_V2, TASKS_V3 = "meta/tasks.jsonl", "meta/tasks.parquet"
EPISODES_STATS = "meta/episodes_stats.jsonl"
LOOK = 16  # episodes of v2.1 whose statistics are read
MAX_JSON_BYTES = 2**28


class LeRobotFolder:
    """The folder of a dataset. Raises SourceError if it is none, or if a file of meta/ is damaged.

    inputs: the fingerprints of the files that were read so far.
    """

    def __init__(self, argument: str) -> None:
        self.path = full(argument).rstrip("/") or argument
        self.name = os.path.basename(self.path if is_address(self.path) else os.path.abspath(self.path))
        self._inputs: dict[str, dict[str, Any]] = {}
        if not is_file(self.file(INFO)):
            found = ", ".join(sorted(names_in(self.path))[:8]) if is_folder(self.path) else "no such folder"
            raise SourceError(f"{argument!r} is no LeRobot dataset: it has no {INFO}; found: {found or 'nothing'}")
        self.info: Info = parse_info(self._object(INFO), self.file(INFO))
        self.modality: Mapping[str, Any] = self._object(MODALITY) if is_file(self.file(MODALITY)) else {}

    def file(self, name: str) -> str:
        return os.path.join(self.path, name)

    @property
    def inputs(self) -> list[dict[str, Any]]:
        _ = self.tasks, self.seen
        return [self._inputs[name] for name in sorted(self._inputs)]

    def payloads(self) -> dict[str, Any]:
        """Return the names and sizes of the data files and videos as one input; their content is read only when it is
        converted."""
        return names_and_sizes(self.path, self._payloads())

    def _payloads(self) -> Iterator[tuple[str, int]]:
        for top in ("data", "videos"):
            yield from ((f"{top}/{name}", size) for name, size in files_below(self.file(top)))

    @functools.cached_property
    def tasks(self) -> dict[int, str]:
        """{number: instruction}; empty if the dataset has no tasks."""
        try:
            if is_file(self.file(TASKS_V3)) and self.info.is_v3:
                return self._tasks_v3()
            return self._tasks_v2() if is_file(self.file(TASKS_V2)) else {}
        except ValueError as error:
            raise SourceError(str(error)) from error

    def _tasks_v3(self) -> dict[int, str]:
        path = self.file(TASKS_V3)
        with hashed(path) as file:
            self._inputs[TASKS_V3] = file.fingerprint()
        table = ParquetTable(path)
        # pandas writes the texts, which are its index, under a name of its own unless the index has one.
        text = next((name for name in ("task", "__index_level_0__") if name in table.columns), "task")
        table.require(["task_index", text], "LeRobot v3.0")
        read = table.read(["task_index", text])
        numbers = read.column("task_index").to_pylist()
        return dict(zip(numbers, texts_of(read.column(text), f"{path}: {text}"), strict=True))

    def _tasks_v2(self) -> dict[int, str]:
        tasks: dict[int, str] = {}
        path = self.file(TASKS_V2)
        for number, line in enumerate(self._bytes(TASKS_V2).splitlines(), 1):
            if line.strip():
                where = f"{path}, line {number}"
                said = lines.object_of(lines.text_of(line, where), where)
                tasks[int(lines.id_of(said, "task_index", where))] = lines.string_of(said, "task", where)
        return tasks

    @functools.cached_property
    def seen(self) -> dict[str, Range]:
        """{feature: the lowest and highest value of each element}, as far as meta/ states them."""
        if is_file(self.file(STATS)):
            return {name: both for name, said in self._object(STATS).items() if (both := _range(said))}
        if is_file(self.file(EPISODES_STATS)):
            return self._seen_in_episodes()
        return {}

    def _seen_in_episodes(self) -> dict[str, Range]:
        path, found = self.file(EPISODES_STATS), dict[str, Range]()
        with open_file(path) as file:
            for number, line in zip(range(1, LOOK + 1), file, strict=False):
                where = f"{path}, line {number}"
                stats = lines.object_of(lines.text_of(line, where), where).get("stats")
                for name, said in stats.items() if isinstance(stats, dict) else ():
                    if both := _range(said):
                        low, high = found.setdefault(name, both)
                        if low.shape == both[0].shape:
                            found[name] = np.minimum(low, both[0]), np.maximum(high, both[1])
        return found

    def _bytes(self, name: str) -> bytes:
        with hashed(self.file(name)) as file:
            data = bytearray()
            while len(data) < MAX_JSON_BYTES and (chunk := file.read()):
                data += chunk
            self._inputs[name] = file.fingerprint()
        return bytes(data)

    def _object(self, name: str) -> dict[str, Any]:
        path = self.file(name)
        try:
            return lines.object_of(lines.text_of(self._bytes(name), path), path)
        except ValueError as error:
            raise SourceError(str(error)) from error


def _range(said: Any) -> Range | None:
    """The finite bounds that statistics of a feature state; None if they state none."""
    try:
        low, high = (np.asarray(said[name], np.float64) for name in ("min", "max"))
    except (KeyError, TypeError, ValueError):
        return None
    return (low, high) if low.shape == high.shape and np.isfinite(low).all() and np.isfinite(high).all() else None
