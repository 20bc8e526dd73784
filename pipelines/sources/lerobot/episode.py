"""EpisodeMaker: the rows and videos of a LeRobot episode to an `Episode`."""

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_tokenize import Episode, EpisodeMetadata
from gato_tokenize.field_spec import ImageSpec
from gato_tokenize.modalities.image import resized
from pipelines.sources.episode_options import RatedOptions
from pipelines.sources.formats.parquet import files_of, numbers_of, texts_of
from pipelines.sources.formats.video import Cameras, Frames
from pipelines.sources.lerobot.fields import ENDS, TASK, Fields, Place
from pipelines.sources.lerobot.info import Info
from pipelines.sources.lerobot.listing import Row
from pipelines.sources.lerobot.rows import EpisodeRows
from pipelines.sources.options import option
from pipelines.sources.step_reading import StepReading
from pipelines.stats.lints import STILL_CAMERA, VIDEO_DRIFT

TOLERANCE = 1e-4  # LeRobot's own default
REWARD, DONE, SUCCESS = ENDS[:3]


@dataclasses.dataclass(frozen=True)
class LeRobotOptions(RatedOptions):
    tolerance: float = option(
        TOLERANCE,
        "seconds that a row's timestamp may be away from that of its frame; a row without a frame is an error",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("tolerance", 0 <= self.tolerance < math.inf, "a number of seconds, at least 0")


class EpisodeMaker:
    """Makes the episodes of a dataset by its `reading`, as they follow each other in a partition. Close it at the end.

    tasks: {number: instruction}.
    """

    def __init__(
        self, folder: str, info: Info, fields: Fields, reading: StepReading, tasks: Mapping[int, str], tolerance: float
    ) -> None:
        self._folder, self._info, self._tasks, self._tolerance = folder, info, tasks, tolerance
        self._reading = reading
        self._places = {path: fields.places.get(path) for path in reading.places.values()}
        self._sizes = {
            reading.places[name]: spec.resize
            for name, spec in reading.spec.fields.items()
            if isinstance(spec, ImageSpec)
        }
        self._rows = EpisodeRows(folder, columns_of(fields, reading, info))
        self._cameras = Cameras()

    def close(self) -> None:
        self._rows.close()
        self._cameras.close()

    def episode(self, row: Row, metadata: EpisodeMetadata) -> Episode:
        """Make an episode. Raises ValueError naming the file, column or time at fault."""
        table = self._rows.read(row)
        arrays: dict[str, Any] = {}
        videos: list[tuple[Place, Frames]] = []
        for path, place in self._places.items():
            if place is None:
                arrays[path] = self._texts(numbers_of(table.column("task_index"), (), "task_index"))
            elif place.is_video:
                arrays[path] = self._frames(path, place, row, table)
                videos.append((place, arrays[path]))
            else:
                arrays[path] = self._values(table, place)
        episode = self._reading.episode(arrays, _ended(table, metadata), _rewards(table))
        return dataclasses.replace(episode, notes={**episode.notes, **self._lints(row, videos)})

    def _values(self, table: Any, place: Place) -> Any:
        column, feature = table.column(place.column), place.feature
        if feature.dtype == "image":
            return files_of(column, place.column)
        if place.named:
            return self._texts(numbers_of(column, (), place.column))
        if feature.dtype == "string":
            return texts_of(column, place.column)
        values = numbers_of(column, feature.shape, place.column)
        kind = np.dtype(feature.dtype).kind
        if values.dtype.kind != kind:  # LeRobot writes what info.json says, other programs lists of doubles
            values = _cast(values, feature.dtype, place.column)
        return values if place.part is None else values[:, slice(*place.part)]

    def _texts(self, numbers: NDArray[Any]) -> list[str]:
        if unknown := sorted(set(numbers.tolist()) - set(self._tasks)):
            raise ValueError(f"the rows have task {unknown[0]}, and meta/tasks names {len(self._tasks)} others")
        return [self._tasks[number] for number in numbers.tolist()]

    def _frames(self, path: str, place: Place, row: Row, table: Any) -> Frames:
        times = numbers_of(table.column("timestamp"), (), "timestamp").astype(np.float64)
        if not np.isfinite(times).all() or (np.diff(times) < 0).any():
            raise ValueError(f"{row.data}: the timestamps of episode {row.index} do not ascend")
        times = times + row.starts[place.column]
        video = os.path.join(self._folder, row.videos[place.column])
        shape = place.feature.shape[1:] if place.feature.channels_first else place.feature.shape[:2]
        size = self._sizes[path]

        def finish(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
            if frame.shape[:2] != shape:
                raise ValueError(f"{video}: its frames are {list(frame.shape[:2])}, and info.json states {list(shape)}")
            return frame if size in (None, shape) else resized(frame, *size)

        return Frames(self._cameras, place.column, video, times.tolist(), self._tolerance, finish)

    def _lints(self, row: Row, videos: Sequence[tuple[Place, Frames]]) -> dict[str, int]:
        drift, still, stride = 0, 0, self._reading.kept(1).step
        for place, frames in videos:
            key = place.column
            stop = row.stops.get(key)
            stated = frames.stated if stop is None else round((stop - row.starts[key]) * self._info.fps)
            drift += bool(stated) and stated != row.length
            still += frames.longest_still > 1 and frames.longest_still * stride >= self._info.fps
        return {what: count for what, count in ((VIDEO_DRIFT, drift), (STILL_CAMERA, still)) if count}


def columns_of(fields: Fields, reading: StepReading, info: Info) -> list[str]:
    """The columns of the data files that the episodes of a reading need."""
    places = [fields.places.get(path) for path in reading.places.values()]
    columns = [place.column for place in places if place is not None and not place.is_video]
    columns += ["task_index"] if TASK in reading.places.values() else []
    columns += ["timestamp"] if any(place is not None and place.is_video for place in places) else []
    return columns + [name for name in (REWARD, DONE, SUCCESS) if name in info.features]


def _cast(values: NDArray[Any], dtype: str, name: str) -> NDArray[Any]:
    """Bring numbers to the dtype that info.json states, if each of them is the same there."""
    with np.errstate(invalid="ignore"):
        cast = values.astype(dtype)
    if cast.dtype.kind != "f" and (cast != values).any():
        raise ValueError(f"{name}: {values[cast != values][0]} is no {dtype}, which info.json states")
    return cast


def _rewards(table: Any) -> NDArray[Any] | None:
    return _flat(table, REWARD) if REWARD in table.column_names else None


def _ended(table: Any, metadata: EpisodeMetadata) -> EpisodeMetadata:
    """Say how the episode ended, as far as its rows do."""
    if DONE in table.column_names:
        metadata = dataclasses.replace(metadata, terminated=bool(_flat(table, DONE)[-1]))
    if SUCCESS in table.column_names:
        metadata = dataclasses.replace(metadata, success=int(_flat(table, SUCCESS).any()))
    return metadata


def _flat(table: Any, name: str) -> NDArray[Any]:
    return numbers_of(table.column(name), (), name)
