"""A record: a token sequence and its metadata, to bytes and back.

One record is an episode, a segment of a long one, a document or a vision-language sample, as a `tf.train.Example`
with flat keys: those of `schema.FIELDS`.
"""

import dataclasses
import functools
import zlib
from typing import Any

import numpy as np

from gato_tokenize.episode import EpisodeMetadata
from gato_tokenize.sequence import TokenSequence
from gato_tokenize.storage.example import encode_example
from gato_tokenize.storage.schema import SCHEMA_VERSION
from gato_tokenize.storage.sequence_bytes import read_values, sequence_of

_ZLIB_LEVEL = 1  # level 6 takes four times as long and saves little on frames of simulators
_SHORT = 256  # tokens: deflating so few takes 20 us, nearly all to set the compressor up
_METADATA = {field.name: f"episode_metadata/{field.name.rstrip('_')}" for field in dataclasses.fields(EpisodeMetadata)}


@dataclasses.dataclass(frozen=True)
class Record:
    """A token sequence, and the metadata of the episode that it comes from."""

    sequence: TokenSequence
    metadata: EpisodeMetadata = EpisodeMetadata()

    def to_bytes(self) -> bytes:
        """Encode the record as a `tf.train.Example`, deterministically. Raises ValueError for a padded sequence."""
        sequence = self.sequence
        if len(sequence) != sequence.step_splits[-1]:
            raise ValueError("a padded sequence is no record: pad when batching")
        values: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "tokens": sequence.ids.astype(np.int64),
            "token_kind": _deflated(sequence.kinds.tobytes()),
            "loss_mask": _deflated(sequence.loss_mask.tobytes()),
            "step_splits": sequence.step_splits,
            "image_patches": _pack_patches(sequence),
            "images/encoded": sequence.encoded,
            "image_grid": sequence.grids.astype(np.int64).ravel(),
        }
        values |= {key: _scalar(getattr(self.metadata, name)) for name, key in _METADATA.items()}
        return encode_example(values)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Record":
        """Decode a record of any writer. Raises ValueError saying what is wrong if it is not one of this schema."""
        values: dict[str, Any] = read_values(data)
        sequence = sequence_of(values)
        metadata = {
            field.name: _unscalar(values[_METADATA[field.name]], field.type)
            for field in dataclasses.fields(EpisodeMetadata)
        }
        return cls(sequence, EpisodeMetadata(**metadata))


def _pack_patches(sequence: TokenSequence) -> bytes:
    if sequence.encoded or not len(sequence.patches):
        return b""
    return zlib.compress(np.ascontiguousarray(sequence.patches).data, _ZLIB_LEVEL)


def _deflated(data: bytes) -> bytes:
    return _deflated_short(data) if len(data) <= _SHORT else zlib.compress(data, _ZLIB_LEVEL)


@functools.lru_cache(maxsize=1024)  # short documents of one length have the same kinds and the same loss mask
def _deflated_short(data: bytes) -> bytes:
    return zlib.compress(data, _ZLIB_LEVEL)


def _scalar(value: Any) -> Any:
    if type(value) is str:
        return value.encode()
    return np.array([value], np.float32) if type(value) is float else int(value)


def _unscalar(value: Any, kind: Any) -> Any:
    return value[0].decode() if kind is str else kind(value[0])
