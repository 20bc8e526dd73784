"""MinariSource: the episodes of a Minari dataset, read with h5py or pyarrow alone."""

import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping
from typing import Any

from gato_tokenize import Episode, EpisodeMetadata, ImageSpec
from gato_tokenize.spaces import space_tree
from gato_tokenize.spec import flatten
from gato_tokenize.storage.address import full
from pipelines.sources.episode_options import EpisodeOptions
from pipelines.sources.errors import SourceError
from pipelines.sources.formats.files import hashed
from pipelines.sources.formats.lines import object_of, text_of
from pipelines.sources.formats.places import is_file
from pipelines.sources.minari.spaces import space_from_json
from pipelines.sources.minari.storage import FORMATS, ArrowStorage, Hdf5Storage, storage_of
from pipelines.sources.on_disk import OnDisk, json_object
from pipelines.sources.options import parse_options
from pipelines.sources.pieces import RECORD_BYTES, ranges, samples_per_partition
from pipelines.sources.source import Candidate
from pipelines.sources.step_fields import StepFields
from pipelines.sources.step_reading import StepReading
from pipelines.sources.step_source import StepSource

METADATA = "metadata.json"
MAX_EPISODES = 10**8
JPEG_GROWTH = 8  # a shard stores pixels without loss, in about 8 times the bytes of their JPEG


class MinariSource(StepSource):
    """`minari:datasets/D4RL/door/human-v2`: the folder that holds `data/`, that folder itself, or its main_data.hdf5.

    The spec comes from the spaces in metadata.json; `roles` says what they leave open. Task and ids come from
    its `dataset_id`. Of the T + 1 observations the last, which no action follows, is left out. The episode's notes
    count it, and each image that was stored as JPEG.
    """

    Options = EpisodeOptions
    reads_addresses = True
    looks_for = "metadata.json with a `dataset_id`, in the folder, in its data/ or beside main_data.hdf5"

    def __init__(self, argument: str, options: dict[str, str]) -> None:
        self._options = parse_options(EpisodeOptions, options)
        self._options.splits_of(())  # Minari has none
        self._argument = full(argument)

    @classmethod
    def recognises(cls, lying: OnDisk) -> str | None:
        found = (os.path.join(folder, METADATA) for folder in _folders(lying.path))
        return lying.path if any("dataset_id" in json_object(path) for path in found) else None

    def readings(self) -> Mapping[str, StepReading]:
        return {self._described.task: self._described.reading}

    def notes(self) -> list[str]:
        return self._described.reading.notes

    def inputs(self) -> list[dict[str, Any]]:
        return [self._plan[0], self._described.source]

    @functools.cached_property
    def _folder(self) -> str:
        """The folder of metadata.json and the episodes."""
        for folder in _folders(self._argument):
            if is_file(os.path.join(folder, METADATA)):
                return folder
        raise SourceError(f"{self._argument!r} is no Minari dataset of version 0.5 or later: it has no data/{METADATA}")

    @property
    def _storage(self) -> Hdf5Storage | ArrowStorage:
        return storage_of(self._folder, self._described.form)

    @functools.cached_property
    def _described(self) -> "Described":
        try:
            return describe(os.path.join(self._folder, METADATA), self._options)
        except SourceError:
            raise
        except ValueError as error:
            raise SourceError(str(error)) from error

    @functools.cached_property
    def _plan(self) -> tuple[dict[str, Any], int]:
        """(fingerprint of the episodes' files, their number); an episode that is missing there becomes a reject."""
        source, stop = self._storage.plan()
        return source, max(self._described.total, stop)

    def partitions(self) -> list[dict[str, Any]]:
        """{"uri", "bytes" (of all episodes), "metadata_sha256", "first", "stop"}: the episodes [first, stop)."""
        source, count = self._plan
        images = any(isinstance(field, ImageSpec) for field in self._described.reading.spec.fields.values())
        weight = source["bytes"] * (JPEG_GROWTH if images and self._described.jpeg else 1)
        each = samples_per_partition(count, weight + RECORD_BYTES * count, self.shard_bytes)
        common = {
            "uri": self._storage.uri,
            "bytes": source["bytes"],
            **{name: value for name, value in source.items() if name == "stamp"},
            "metadata_sha256": self._described.source["sha256"],
        }
        return [{**common, "first": first, "stop": stop} for first, stop in ranges(count, each)]

    def candidates(self, partition: dict[str, Any]) -> Iterator[Candidate]:
        if self._described.source["sha256"] != partition["metadata_sha256"]:
            raise ValueError(f"{self._described.source['uri']} has changed since it was planned; plan again")
        storage = self._storage
        for number in range(partition["first"], partition["stop"]):
            episode_id, uri = f"{self._described.task}/{number}", storage.uri_of(number)
            load = functools.partial(self._load, episode_id, uri, partition, number)
            yield Candidate(episode_id, uri, number, load)

    def _load(self, episode_id: str, uri: str, partition: dict[str, Any], number: int) -> Episode:
        with self._storage.episode(number, partition) as reader:
            return self._episode(episode_id, uri, number, reader)

    def _episode(self, episode_id: str, uri: str, number: int, reader: Any) -> Episode:
        described = self._described
        metadata = EpisodeMetadata(
            episode_id=episode_id,
            domain=described.domain,
            task=described.task,
            agent_id=described.agent,
            source_uri=uri,
            source_index=number,
            success=reader.success(),
            terminated=reader.ended("terminations"),
            truncated=reader.ended("truncations"),
        )
        arrays = flatten(reader.observation(described.observation_space), "observation")
        arrays |= flatten(reader.action(described.action_space), "action")
        return described.reading.episode(arrays, metadata, reader.rewards, reader.notes)


def _folders(path: str) -> list[str]:
    """The folders in which the metadata of a dataset may be that is given by this path."""
    if path.endswith((".hdf5", ".h5")):
        return [os.path.dirname(path)]
    return [path, os.path.join(path, "data")]


@dataclasses.dataclass(frozen=True)
class Described:
    """The content of a dataset's metadata.json."""

    source: dict[str, Any]  # the file's fingerprint
    name: str
    agent: str
    total: int
    jpeg: bool
    form: str  # in which the episodes are stored
    observation_space: Any
    action_space: Any
    reading: StepReading
    task: str  # the name, and the roles if any were chosen

    @property
    def domain(self) -> str:
        """The dataset's namespace: "D4RL" of "D4RL/door/human-v2"."""
        return self.name.partition("/")[0] if "/" in self.name else "minari"


def describe(path: str, options: EpisodeOptions) -> Described:
    """Read the metadata.json at `path`; ValueError says what is missing or wrong."""
    with hashed(path) as file:
        text = text_of(b"".join(iter(file.read, b"")), path)
        source = file.fingerprint()
    said = object_of(text, path)
    form = said.get("data_format", "hdf5")
    if form not in FORMATS:
        raise ValueError(f"{path}: data in the format {form!r} cannot be read, only {', '.join(FORMATS)}")
    name, agent, total = said.get("dataset_id"), said.get("algorithm_name") or "", said.get("total_episodes", 0)
    if not isinstance(name, str) or not name.isprintable() or not name or not isinstance(agent, str):
        raise ValueError(
            f"{path}: dataset_id must name the dataset and algorithm_name its agent, not {name!r}, {agent!r}"
        )
    if type(total) is not int or not 0 <= total <= MAX_EPISODES:
        raise ValueError(f"{path}: total_episodes must be from 0 to {MAX_EPISODES}, not {total!r}")
    spaces = {}
    for role in ("observation_space", "action_space"):
        if not isinstance(said.get(role), str):
            raise ValueError(f"{path}: no {role} is described here; only the environment itself knows it")
        spaces[role] = space_from_json(said[role], f"{path}, {role}")
    reading = _reading(spaces, path, options)
    jpeg, task = bool(said.get("jpeg_encoding", True)), options.task_of(name)
    return Described(source, name, agent, total, jpeg, form, reading=reading, task=task, **spaces)


def _reading(spaces: Mapping[str, Any], path: str, options: EpisodeOptions) -> StepReading:
    flat: dict[str, Any] = {}
    try:
        for name in ("observation", "action"):
            flat |= flatten(space_tree(spaces[f"{name}_space"], name), name)
        return StepReading(StepFields(flat), options)
    except ValueError as error:
        raise SourceError(f"{path}: {error}") from error
