"""RldsFolder: the folder of a TFDS dataset: version, splits and shards, known from its JSON and file sizes alone."""

import dataclasses
import functools
import json
import os
import re
from typing import Any

from gato_tokenize.storage.address import RemoteError, full
from gato_tokenize.storage.tfrecord import CorruptRecordError, record_offsets
from pipelines.sources.errors import SourceError
from pipelines.sources.formats.files import hashed, names_and_sizes
from pipelines.sources.formats.lines import object_of, text_of
from pipelines.sources.formats.places import Size, is_file, is_folder, names_in, sizes_of
from pipelines.sources.on_disk import OnDisk
from pipelines.sources.rlds.features import Features, read_features

INFO, FEATURES = "dataset_info.json", "features.json"
TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
MAX_JSON_BYTES = 2**26
_VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclasses.dataclass(frozen=True)
class Shard:
    """One file of a split. bytes: its size now, or None if it is missing."""

    split: str
    number: int
    path: str
    records: int
    bytes: Size | None

    @property
    def name(self) -> str:
        """Its name among the dataset's: "train-00003"."""
        return f"{self.split}-{self.number:05d}"


class RldsFolder:
    """The folder NAME/VERSION of a dataset. Raises SourceError if there is none, or one that cannot be read."""

    def __init__(self, argument: str) -> None:
        self.path, self.other_versions = _version_folder(argument)
        self.inputs: list[dict[str, Any]] = []
        self._shards: dict[str, tuple[Shard, ...]] = {}
        self._info = self._json(INFO)
        name, form = self._info.get("name"), self._info.get("fileFormat", "tfrecord")
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
            raise SourceError(f"{self.path}/{INFO}: its name must be that of a dataset, not {name!r}")
        if form != "tfrecord":
            raise SourceError(
                f"{self.path}: its files have the format {form!r}, and only 'tfrecord' can be read:"
                f" `tfds convert_format --dataset_version_dir={self.path} --out_file_format=tfrecord"
                " --out_dir=DIR` of tensorflow-datasets writes it anew"
            )
        self.name = name
        self.version = str(self._info.get("version", os.path.basename(self.path)))
        try:
            self.features: Features = read_features(json.dumps(self._json(FEATURES)))
        except ValueError as error:
            raise SourceError(f"{self.path}/{FEATURES}: {error}") from error

    def _json(self, name: str) -> dict[str, Any]:
        path = os.path.join(self.path, name)
        with hashed(path) as file:
            data = file.read(MAX_JSON_BYTES)
            self.inputs.append(file.fingerprint())
        try:
            return object_of(text_of(data, path), path)
        except ValueError as error:
            raise SourceError(str(error)) from error

    @property
    def splits(self) -> list[str]:
        """The names of the splits, in the order of dataset_info.json."""
        return list(self._splits)

    @functools.cached_property
    def _splits(self) -> dict[str, dict[str, Any]]:
        said = self._info.get("splits", [])
        if not isinstance(said, list) or not all(isinstance(split, dict) for split in said):
            raise SourceError(f"{self.path}/{INFO}: `splits` must be a list of objects")
        return {str(split.get("name")): split for split in said}

    def record_bytes(self, split: str) -> int:
        """The average size of a record as dataset_info.json states it, whatever the files have now; at least 1."""
        stated = _whole(self._splits[split].get("numBytes"))
        total = stated if stated is not None else sum(shard.bytes or 0 for shard in self.shards(split))
        return max(1, total // max(1, self.records(split)))

    def records(self, split: str) -> int:
        return sum(shard.records for shard in self.shards(split))

    def shards(self, split: str) -> tuple[Shard, ...]:
        """The shards of a split, in order. Where dataset_info.json does not count their records, the files do."""
        if split not in self._shards:
            self._shards[split] = self._listed(split, self._splits[split])
        return self._shards[split]

    def _listed(self, split: str, said: dict[str, Any]) -> tuple[Shard, ...]:
        counts = [_whole(length) for length in said.get("shardLengths", ())]
        if not counts:
            counts = [None] * (_whole(said.get("numShards")) or self._found(split))
        names = [self._file_name(said, split, number, len(counts)) for number in range(len(counts))]
        shards = []
        paths = [os.path.join(self.path, name) for name in names]
        for number, (path, count, size) in enumerate(zip(paths, counts, sizes_of(paths), strict=True)):
            shards.append(Shard(split, number, path, _counted(path) if count is None else count, size))
        return tuple(shards)

    def _found(self, split: str) -> int:
        """The number of shards that the files' names give."""
        form = re.compile(rf"{re.escape(f'{self.name}-{split}')}\.tfrecord-\d{{5,}}-of-(\d{{5,}})")
        counts = {int(found[1]) for name in names_in(self.path) if (found := form.fullmatch(name))}
        if len(counts) > 1:
            raise SourceError(f"{self.path}: files of split {split!r} are of {sorted(counts)} shards: keep one set")
        return counts.pop() if counts else 0

    def _file_name(self, said: dict[str, Any], split: str, number: int, count: int) -> str:
        template = said.get("filepathTemplate") or TEMPLATE
        parts = {
            "DATASET": self.name,
            "SPLIT": split,
            "FILEFORMAT": "tfrecord",
            "SHARD_INDEX": f"{number:05d}",
            "NUM_SHARDS": f"{count:05d}",
            "SHARD_X_OF_Y": f"{number:05d}-of-{count:05d}",
        }
        name = re.sub(r"\{(\w+)\}", lambda found: parts.get(found[1], found[0]), str(template))
        if "/" in name or "{" in name or "\0" in name:
            raise SourceError(f"{self.path}/{INFO}: {name!r} names no file of this folder (from {template!r})")
        return name

    def fingerprint(self, splits: list[str]) -> dict[str, Any]:
        """Return the names and sizes of the shards as one input; their content is read only when it is converted."""
        shards = (shard for split in splits for shard in self.shards(split))
        return names_and_sizes(
            self.path, ((os.path.basename(shard.path), shard.bytes, shard.records) for shard in shards)
        )


def is_dataset(lying: OnDisk) -> bool:
    """Whether there is a folder NAME/VERSION, or NAME with versions in it."""
    folders = ["", *(f"{name}/" for name in lying.names if _VERSION.fullmatch(name))]
    return any(lying.has(f"{folder}{FEATURES}") and lying.has(f"{folder}{INFO}") for folder in folders)


def _version_folder(argument: str) -> tuple[str, list[str]]:
    """Return (the folder of the newest version, the names of older ones beside it)."""
    path = full(argument).rstrip("/") or argument
    if is_file(os.path.join(path, FEATURES)):
        return path, []
    if not is_folder(path):
        raise SourceError(f"{argument!r} is no folder; an RLDS dataset is given as NAME/VERSION or as NAME")
    names = sorted(names_in(path))
    versions = [name for name in names if _VERSION.fullmatch(name)]
    versions = [name for name in versions if is_file(os.path.join(path, name, FEATURES))]
    if not versions:
        found = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "nothing"
        raise SourceError(
            f"{argument!r} is no RLDS dataset: it has neither {FEATURES} nor a folder like 1.0.0 with one; it has"
            f" {found}"
        )
    *older, newest = sorted(versions, key=lambda name: [int(part) for part in name.split(".")])
    return os.path.join(path, newest), older


def _whole(value: Any) -> int | None:
    """A count of dataset_info.json, where numbers are strings; None if it is none."""
    return int(value) if re.fullmatch(r"\d{1,15}", str(value)) else None


def _counted(path: str) -> int:
    """The number of records in a file, of which the headers alone are read, up to the first that is damaged."""
    count = 0
    try:
        for _ in record_offsets(path):
            count += 1
    except RemoteError:
        raise
    except (CorruptRecordError, OSError):
        pass
    return count
