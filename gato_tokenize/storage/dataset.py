"""The folder of a converted dataset: its file names, its tokenizer, and reading it back, without TensorFlow or Beam."""

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, overload

from gato_tokenize.defaults import LOCAL_POSITIONS
from gato_tokenize.episode import Episode
from gato_tokenize.field_spec import TextSpec
from gato_tokenize.modalities.text import TextTokenizer
from gato_tokenize.output import counted
from gato_tokenize.spec import EpisodeSpec
from gato_tokenize.storage.durable import durable_file
from gato_tokenize.storage.episode_list import EPISODES, EpisodeHeads, read_lines
from gato_tokenize.storage.episodes import Episodes
from gato_tokenize.storage.place import DATASET, describe
from gato_tokenize.storage.records import Record
from gato_tokenize.storage.shards import parse_shard_name, read_record, read_records
from gato_tokenize.storage.store_path import Place, place
from gato_tokenize.storage.tfrecord import Damage, index_path, read_index
from gato_tokenize.tokenizer import EpisodeTokenizer
from gato_tokenize.vocabulary import Vocabulary

MANIFEST = DATASET  # written last: its presence means that the dataset is complete
FORMAT_VERSION = 1
STATS = "stats.json"
SPEC, TEXT_MODEL = "tokenizer/spec.json", "tokenizer/text.model"


def read_stats(folder: Place) -> dict[str, Any]:
    """The statistics of the dataset in a folder: {split: {task: counts}}, see docs/records.md."""
    stats: dict[str, Any] = json.loads((folder / STATS).read_text(encoding="utf-8"))
    return stats


@dataclasses.dataclass(frozen=True, eq=False)
class DatasetTokenizer:
    """Everything that affects an id of a dataset: the vocabulary, the spec of each task, the text model.

    `sha256` changes with any of it. A model that was trained with one tokenizer must not read data of another.
    """

    specs: Mapping[str, EpisodeSpec]
    vocabulary: Vocabulary = Vocabulary()
    text: TextTokenizer | None = None  # None if no task has text
    local_positions: int = LOCAL_POSITIONS

    def __repr__(self) -> str:
        return f"<DatasetTokenizer of {counted(len(self.specs), 'task')}, sha256 {self.sha256[:12]}>"

    @classmethod
    def for_specs(
        cls,
        specs: Mapping[str, EpisodeSpec],
        text: TextTokenizer | None = None,
        local_positions: int = LOCAL_POSITIONS,
        **vocabulary: Any,
    ) -> "DatasetTokenizer":
        """The tokenizer of these tasks. If one has text, the shipped text model is used, or the one given.

        vocabulary: the fields of `Vocabulary` that are not the paper's. Unless `text_size` is given, a smaller text
        model leaves ids unused and a larger one shifts the ids after it.

        >>> specs = {"text": EpisodeSpec.document()}
        >>> DatasetTokenizer.for_specs(specs, disjoint=True, discrete_size=4096).vocabulary.discrete
        range(33025, 37121)

        Raises ValueError if the vocabulary makes no sense, TypeError for a field that it does not have.
        """
        has_text = any(isinstance(field, TextSpec) for spec in specs.values() for field in spec.fields.values())
        text = (text or TextTokenizer()) if has_text else None
        if text and text.vocabulary_size > Vocabulary.text_size:
            vocabulary = {"text_size": text.vocabulary_size, **vocabulary}
        return cls(dict(sorted(specs.items())), Vocabulary(**vocabulary), text, local_positions)

    @functools.cache  # noqa: B019 - a dataset has one tokenizer, which lives as long as it does
    def task(self, name: str) -> EpisodeTokenizer:
        """The tokenizer of one task. Raises KeyError listing the tasks if there is none of this name."""
        if name not in self.specs:
            raise KeyError(f"no task {name!r}; tasks: {', '.join(self.specs)}")
        return EpisodeTokenizer(self.specs[name], self.vocabulary, self.text, self.local_positions)

    def to_json(self) -> str:
        """Canonical JSON, which is the content of tokenizer/spec.json."""
        content = {
            "local_positions": self.local_positions,
            "tasks": {name: json.loads(spec.to_json()) for name, spec in sorted(self.specs.items())},
            "text_model_sha256": self.text.sha256 if self.text else None,
            "vocabulary": json.loads(self.vocabulary.to_json()),
        }
        return json.dumps(content, indent=1) + "\n"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def save(self, folder: "str | os.PathLike[str]") -> None:
        """Write the folder `tokenizer/` into a folder that is there."""
        folder = place(folder)
        (folder / "tokenizer").mkdir(exist_ok=True)
        if self.text:
            with durable_file(folder / TEXT_MODEL) as file:
                file.write(self.text.model_bytes)
        with durable_file(folder / SPEC) as file:
            file.write(self.to_json().encode())

    @classmethod
    def load(cls, folder: "str | os.PathLike[str]") -> "DatasetTokenizer":
        """Load what `save` wrote.

        Raises FileNotFoundError if there is none, ValueError if the text model is not the one that the spec names."""
        folder = place(folder)
        if not (folder / SPEC).is_file():
            raise FileNotFoundError(f"{folder} holds no {SPEC}: {describe(folder)}; give a dataset or a training run")
        content = json.loads((folder / SPEC).read_bytes())
        model = folder / TEXT_MODEL
        text = TextTokenizer.from_bytes(model.read_bytes(), source=str(model)) if content["text_model_sha256"] else None
        if text and text.sha256 != content["text_model_sha256"]:
            raise ValueError(f"{folder / TEXT_MODEL} is not the text model that {folder / SPEC} names")
        specs = {name: EpisodeSpec.from_json(json.dumps(spec)) for name, spec in content["tasks"].items()}
        vocabulary = Vocabulary.from_json(json.dumps(content["vocabulary"]))
        return cls(specs, vocabulary, text, content["local_positions"])


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A complete, converted dataset, a sequence of its episodes: `Dataset.open(folder)`.

    They are those of all splits, in the order of the episode list. `dataset[3]` and `dataset["id"]` read and decode one
    of them; `dataset[10:20]` is a sequence, too, which reads nothing yet.
    """

    path: Place
    manifest: Mapping[str, Any]
    tokenizer: DatasetTokenizer = dataclasses.field(compare=False)  # the manifest has its hash

    def __repr__(self) -> str:
        splits = ", ".join(f"{name} {split['records']}" for name, split in self.manifest["splits"].items())
        tasks = counted(len(self.tokenizer.specs), "task")
        return f"<Dataset {self.path}: {counted(len(self), 'episode')} of {tasks}; records: {splits}>"

    @classmethod
    def open(cls, path: "str | os.PathLike[str]") -> "Dataset":
        """Open the dataset in a folder, on a disk or in a store: "s3://bucket/toy/1.0.0".

        Raises FileNotFoundError if it is not complete, ValueError if its tokenizer is not the one that made it, OSError
        if a store cannot be read."""
        path = place(path)
        if not (path / MANIFEST).is_file():
            raise FileNotFoundError(f"{path} is no complete dataset: {describe(path)} (give the folder NAME/VERSION)")
        manifest = json.loads((path / MANIFEST).read_bytes())
        tokenizer = DatasetTokenizer.load(path)
        if tokenizer.sha256 != manifest["tokenizer_sha256"]:
            raise ValueError(f"{path / SPEC} is not the tokenizer that this dataset was made with (see {MANIFEST})")
        return cls(path, manifest, tokenizer)

    @property
    def splits(self) -> list[str]:
        return list(self.manifest["splits"])

    def shards(self, split: str = "train") -> list[Place]:
        """The files of a split, in order. Raises KeyError listing the splits if there is none of this name."""
        if split not in self.manifest["splits"]:
            raise KeyError(f"no split {split!r}; splits: {', '.join(self.splits)}")
        return [self.shard(shard["file"]) for shard in self.manifest["splits"][split]["shards"]]

    def shard(self, name: str) -> Place:
        """The file of a shard that the manifest or the episode list names.

        Raises ValueError for any other name: a forged list must not lead out of the folder."""
        try:
            parse_shard_name(name)
        except ValueError as error:
            raise ValueError(f"{self.path} is damaged or forged: it names {name!r} as a shard of its own") from error
        return self.path / name

    @property
    def stats(self) -> dict[str, Any]:
        """{split: {task: what was counted when the dataset was made}}."""
        return read_stats(self.path)

    def __len__(self) -> int:
        return int(self.manifest["episodes"]["written"])

    @overload
    def __getitem__(self, wanted: int | str) -> Episode: ...
    @overload
    def __getitem__(self, wanted: slice) -> Episodes: ...
    def __getitem__(self, wanted: int | str | slice) -> Episode | Episodes:
        """Return an episode by its number in the episode list or its id, or a view of several.

        Raises IndexError beyond the last, KeyError for an unknown id, ValueError if the list is damaged or forged.
        """
        if isinstance(wanted, slice):
            return Episodes(self.__getitem__, range(len(self))[wanted])
        number = self._heads.number(wanted) if isinstance(wanted, str) else range(len(self))[wanted]
        if number is None:
            raise KeyError(f"{self.path} has no episode {wanted!r}")
        return self._decode(self._whole(*self._heads.place(number)))

    def __iter__(self) -> Iterator[Episode]:
        left = self._heads.counts
        readers: dict[
            str, Iterator[Episode]
        ] = {}  # the list goes through each shard in order, but through several at once
        for number in range(len(self)):
            shard = self._heads.place(number)[0]
            if shard not in readers:
                readers[shard] = self._joined(read_records(self.shard(shard), dataset=self.manifest["dataset"]))
            yield next(readers[shard])
            left[shard] -= 1
            if not left[shard]:
                del readers[shard]

    @functools.cached_property
    def _heads(self) -> EpisodeHeads:
        return EpisodeHeads.read(self.path / EPISODES)

    def _whole(self, shard: str, first: int, segments: int) -> Record:
        """Read an episode's records and join them."""
        path, name = self.shard(shard), self.manifest["dataset"]
        return Record.join([read_record(path, first + segment, name) for segment in range(segments)])

    def records(
        self,
        split: str = "train",
        on_corrupt: Literal["raise", "skip"] = "raise",
        damaged: "list[Damage] | None" = None,
    ) -> Iterator[Record]:
        """Yield every record of a split in order; `read_records` describes what happens on damage."""
        for shard in self.shards(split):
            yield from read_records(shard, on_corrupt, damaged, self.manifest["dataset"])

    def record(self, number: int, split: str = "train") -> Record:
        """Read record `number` of a split through the index. Raises IndexError beyond the last."""
        left = number
        for shard in self.shards(split):
            count = len(read_index(index_path(shard)))
            if 0 <= left < count:
                return read_record(shard, left, self.manifest["dataset"])
            left -= count
        raise IndexError(f"{self.path} has no record {number} in split {split!r}")

    def episodes(self, split: str = "train") -> Iterator[Episode]:
        """Yield every episode of a split, decoded, with its segments joined."""
        return self._joined(self.records(split))

    def _joined(self, records: Iterable[Record]) -> Iterator[Episode]:
        parts: list[Record] = []
        for record in records:
            metadata = record.metadata
            if metadata.segment_index != len(parts):
                raise ValueError(f"episode {metadata.episode_id!r}: segment {len(parts)} is missing")
            parts.append(record)
            if len(parts) == metadata.num_segments:
                yield self._decode(Record.join(parts))
                parts = []

    def _decode(self, whole: Record) -> Episode:
        return self.tokenizer.task(whole.metadata.task).decode(whole.sequence, whole.metadata, whole.rewards)

    def find_episode(self, wanted: str) -> tuple[Record, Episode]:
        """The whole episode of an id, or of a number in the episode list; its first record carries the metadata.

        Raises KeyError if there is none, ValueError if the list is damaged or forged.
        """
        heads = (line for line in read_lines(self.path / EPISODES) if line["segment_index"] == 0)
        found = (line for number, line in enumerate(heads) if wanted in (line["episode_id"], str(number)))
        line = next(found, None)
        if line is None:
            raise KeyError(f"no episode {wanted!r}: give an id or a number below the count of episodes")
        whole = self._whole(line["shard"], line["record"], line["num_segments"])
        metadata = dataclasses.replace(whole.metadata, content_hash=line["content_hash"])
        return dataclasses.replace(whole, metadata=metadata), self._decode(whole)
