"""A record: a token sequence and its metadata, to bytes and back.

One record is an episode, a segment of a long one, a document or a vision-language sample, as a `tf.train.Example`
with flat keys: those of `schema.FIELDS`.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_tokenize.episode import EpisodeMetadata
from gato_tokenize.sequence import TokenSequence
from gato_tokenize.storage.deflate import deflate
from gato_tokenize.storage.example import encode_example
from gato_tokenize.storage.schema import TASK, origin_of
from gato_tokenize.storage.sequence_bytes import read_values, sequence_of

_SHORT = 256  # tokens: deflating so few takes 20 us, nearly all to set the compressor up
_METADATA = {field.name: f"episode_metadata/{field.name.rstrip('_')}" for field in dataclasses.fields(EpisodeMetadata)}
_TYPES = {field.name: field.type for field in dataclasses.fields(EpisodeMetadata)}
# Fields that are left out together, and those that are left out on their own if they hold their default.
_ORIGIN, _SEGMENT = ("source_uri", "source_index"), ("num_steps", "segment_index", "num_segments", "step_offset")
_ALONE = [
    (field.name, TASK if field.name == "task" else field.default)
    for field in dataclasses.fields(EpisodeMetadata)
    if field.name not in ("episode_id", *_ORIGIN, *_SEGMENT, "domain", "return_")
]


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """A token sequence, and the metadata of the episode that it comes from.

    rewards: float32[T], one for each timestep of the sequence; None: unknown. Raises ValueError for another number.
    """

    sequence: TokenSequence
    metadata: EpisodeMetadata = EpisodeMetadata()
    rewards: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.rewards is not None and self.rewards.shape != (self.sequence.num_steps,):
            raise ValueError(f"{len(self.rewards)} rewards for {self.sequence.num_steps} timesteps")

    def __repr__(self) -> str:
        return f"<Record {self.metadata.episode_id!r} of task {self.metadata.task!r}: {self.sequence!r}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record):
            return NotImplemented
        one, two = (record.rewards for record in (self, other))
        alike = one is two or (one is not None and two is not None and np.array_equal(one, two))
        return alike and self.sequence == other.sequence and self.metadata == other.metadata

    @staticmethod
    def join(segments: "Sequence[Record]") -> "Record":
        """Join the segments of an episode, in order: their tokens and rewards, and the metadata of the first."""
        if len(segments) == 1:
            return segments[0]
        rewards = [segment.rewards for segment in segments if segment.rewards is not None]
        return Record(
            TokenSequence.join([segment.sequence for segment in segments]),
            segments[0].metadata,
            np.concatenate(rewards) if rewards else None,
        )

    def to_bytes(self) -> bytes:
        """Encode the record as a `tf.train.Example`, deterministically, without the features that hold their default.

        Raises ValueError for a padded sequence.
        """
        sequence = self.sequence
        if len(sequence) != sequence.step_splits[-1]:
            raise ValueError("a padded sequence is no record: pad when batching")
        values = _metadata_values(self.metadata, sequence.num_steps)
        values["tokens"] = sequence.ids.astype(np.int64)
        kinds, loss_mask = sequence.kinds.tobytes(), sequence.loss_mask.tobytes()
        if kinds.count(0) != len(kinds):
            values["token_kind"] = _deflated(kinds)
        if loss_mask.count(1) != len(loss_mask):
            values["loss_mask"] = _deflated(loss_mask)
        if sequence.num_steps != 1:
            values["step_splits"] = sequence.step_splits
        if len(sequence.grids):
            values["image_grid"] = sequence.grids.astype(np.int64).ravel()
            values |= _image_values(sequence)
        if self.rewards is not None:
            values["rewards"] = self.rewards.astype(np.float32)
        return encode_example(values)

    @classmethod
    def from_bytes(cls, data: bytes, dataset: str = "") -> "Record":
        """Decode a record of any writer and of any schema version so far.

        dataset: the dataset's name, which records since schema 2 leave to the folder they are in. Raises ValueError
        saying what is wrong if `data` is no record.
        """
        values: dict[str, Any] = read_values(data)
        sequence = sequence_of(values)
        return cls(sequence, _metadata_of(values, sequence.num_steps, dataset), values.get("rewards"))


def _image_values(sequence: TokenSequence) -> dict[str, Any]:
    if sequence.encoded:
        return {"images/encoded": sequence.encoded}
    return {"image_patches": deflate(np.ascontiguousarray(sequence.patches).data)}


def _deflated(data: bytes) -> bytes:
    return _deflated_short(data) if len(data) <= _SHORT else deflate(data)


@functools.lru_cache(maxsize=1024)  # short samples of one length have the same kinds and the same loss mask
def _deflated_short(data: bytes) -> bytes:
    return deflate(data)


def _metadata_values(metadata: EpisodeMetadata, num_steps: int) -> dict[str, Any]:
    """{key: value} of the metadata that a record of `num_steps` timesteps does not leave out."""
    held = vars(metadata)
    names = ["episode_id", *(name for name, default in _ALONE if held[name] != default)]
    if origin_of(metadata.episode_id) != (metadata.source_uri, metadata.source_index):
        names += _ORIGIN
    if [held[name] for name in _SEGMENT] != [num_steps, 0, 1, 0]:
        names += _SEGMENT
    if metadata.domain != metadata.task:
        names.append("domain")
    if metadata.return_ == metadata.return_:  # not NaN
        names.append("return_")
    return {_METADATA[name]: _scalar(held[name]) for name in names}


def _metadata_of(values: Mapping[str, Any], num_steps: int, dataset: str) -> EpisodeMetadata:
    """The inverse of `_metadata_values`."""
    known = {name: _unscalar(values[key], _TYPES[name]) for name, key in _METADATA.items() if key in values}
    uri, index = origin_of(known["episode_id"])
    task = known.get("task", TASK)
    derived = {"task": task, "domain": task, "source_uri": uri, "source_index": index, "num_steps": num_steps}
    return EpisodeMetadata(**{**derived, "dataset": dataset, **known})


def _scalar(value: Any) -> Any:
    if type(value) is str:
        return value.encode()
    return np.array([value], np.float32) if type(value) is float else int(value)


def _unscalar(value: Any, kind: Any) -> Any:
    return value[0].decode() if kind is str else kind(value[0])
