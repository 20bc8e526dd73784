"""Info: what meta/info.json says of a LeRobot dataset: version, rate, features, splits, and where its files lie."""

import dataclasses
import os
import re
from collections.abc import Mapping
from typing import Any

from pipelines.sources.errors import SourceError

VERSIONS = ("v2.0", "v2.1", "v3.0")
MAX_EPISODES = 10**7
_V2 = (
    "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
    "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
)
_V3 = (
    "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
    "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
)
_KEYS = ("episode_chunk", "episode_index", "total_episodes", "chunk_index", "file_index", "video_key")


@dataclasses.dataclass(frozen=True)
class Feature:
    """What info.json says of one feature. dtype: "video", "image", "string", or numpy's name of numbers."""

    dtype: str
    shape: tuple[int, ...]
    channels_first: bool  # of a picture's shape
    is_depth: bool


@dataclasses.dataclass(frozen=True)
class Info:
    """The checked content of info.json. Raises SourceError, by `parse_info`, naming what is missing or wrong."""

    version: str
    fps: float
    episodes: int
    chunk: int  # episodes in a folder of v2
    features: Mapping[str, Feature]
    splits: Mapping[str, range]  # episodes of each split
    data_path: str
    video_path: str

    @property
    def is_v3(self) -> bool:
        return self.version == "v3.0"

    def data_file(self, **numbers: int) -> str:
        """The path of a data file below the dataset's folder, of a file's or an episode's numbers."""
        return _filled(self.data_path, self._with_totals(numbers))

    def video_file(self, key: str, **numbers: int) -> str:
        return _filled(self.video_path, {**self._with_totals(numbers), "video_key": key})

    def _with_totals(self, numbers: Mapping[str, int]) -> dict[str, Any]:
        index = numbers.get("episode_index", 0)
        return {"total_episodes": self.episodes, "episode_chunk": index // self.chunk, **numbers}


def parse_info(said: Mapping[str, Any], path: str) -> Info:
    """Check the content of the info.json at `path`."""
    version = said.get("codebase_version")
    if version not in VERSIONS:
        raise SourceError(
            f"{path}: codebase_version is {version!r}, and {', '.join(VERSIONS)} can be read: LeRobot has a script that"
            " converts older datasets"
        )
    data, video = _V3 if version == "v3.0" else _V2
    fps, splits, features = said.get("fps"), said.get("splits") or {}, said.get("features")
    if type(fps) not in (int, float) or not 0 < fps < 1e6:  # type: ignore[operator]
        raise SourceError(f"{path}: fps must be the timesteps of a second, not {fps!r}")
    if not isinstance(features, dict) or not features:
        raise SourceError(f"{path}: features must describe the columns, not {str(features)[:80]}")
    if not isinstance(splits, dict):
        raise SourceError(f"{path}: splits must be an object, not {str(splits)[:80]}")
    return Info(
        version=version,
        fps=float(fps),  # type: ignore[arg-type]
        episodes=_count(said.get("total_episodes", 0), f"{path}: total_episodes", 0),
        chunk=_count(said.get("chunks_size", 1000), f"{path}: chunks_size", 1),
        features={str(name): _feature(name, feature, path) for name, feature in features.items()},
        splits={str(name): _range(episodes, f"{path}: split {name!r}") for name, episodes in splits.items()},
        data_path=_template(said.get("data_path") or data, f"{path}: data_path"),
        video_path=_template(said.get("video_path") or video, f"{path}: video_path"),
    )


def _count(value: Any, what: str, least: int) -> int:
    if type(value) is not int or not least <= value <= MAX_EPISODES:
        raise SourceError(f"{what} must be a whole number from {least} to {MAX_EPISODES}, not {value!r}")
    return value


def _feature(name: Any, said: Any, path: str) -> Feature:
    said = said if isinstance(said, dict) else {}
    dtype, shape, names = said.get("dtype"), said.get("shape"), said.get("names")
    if not isinstance(dtype, str) or not isinstance(shape, list) or not all(type(side) is int for side in shape):
        raise SourceError(f"{path}: the feature {name!r} needs a dtype and a shape, not {str(said)[:80]}")
    facts = {**_object(said.get("video_info")), **_object(said.get("info"))}
    first = names[0] if isinstance(names, list) and names else ""
    return Feature(
        dtype, tuple(shape), str(first).startswith("channel"), facts.get("video.is_depth_map", False) is not False
    )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _range(text: Any, what: str) -> range:
    """Read "0:25", the first episode of a split and the one after its last."""
    found = re.fullmatch(r"(\d{1,9}):(\d{1,9})", str(text))
    if not found:
        raise SourceError(f"{what} must be FIRST:STOP, such as 0:25, not {text!r}")
    return range(int(found[1]), int(found[2]))


def _template(text: Any, what: str) -> str:
    """Check a path with numbers in braces, such as {episode_index:06d}, and that it stays in the dataset's folder."""
    names = re.findall(r"\{(\w+)(?::0?\d{1,2}d)?\}", str(text))
    rest = re.sub(r"\{\w+(:0?\d{1,2}d)?\}", "", str(text))
    if unknown := sorted(set(names) - set(_KEYS)) or re.findall(r"[{}]", rest):
        raise SourceError(f"{what} is {text!r}, where {unknown[0]} is unknown; known: {', '.join(_KEYS)}")
    _checked(str(text), what)
    return str(text)


def _filled(template: str, values: Mapping[str, Any]) -> str:
    def number(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise SourceError(f"{template}: nothing says what {found[1]} is in this version of the format")
        width = int(found[2] or 0)
        return str(values[found[1]]).zfill(width) if width else str(values[found[1]])

    return _checked(re.sub(r"\{(\w+)(?::0?(\d{1,2})d)?\}", number, template), template)


def _checked(path: str, what: str) -> str:
    if os.path.isabs(path) or ".." in path.split("/") or "\0" in path:
        raise SourceError(f"{what}: {path!r} leaves the dataset's folder")
    return path
