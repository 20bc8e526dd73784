"""The record: one table of fields, and from it token sequences to record bytes and back.

One record is an episode, a segment of a long one, a document or a vision-language sample, as a `tf.train.Example`
with flat keys. Writer, reader, TFDS's features.json, the documentation and the model's parse spec all come from FIELDS.
"""

import dataclasses
import zlib
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gato_tokenize.episode import EpisodeMetadata
from gato_tokenize.modalities.image import ImageTokenizer
from gato_tokenize.sequence import TokenSequence
from gato_tokenize.storage.example import Value, decode_example, encode_example
from gato_tokenize.vocabulary import Kind

SCHEMA_VERSION = 1
_ZLIB_LEVEL = 1  # level 6 costs four times as much and saves little on simulators' frames


@dataclasses.dataclass(frozen=True)
class RecordField:
    """One feature of a record. `scalar`: always exactly one value; otherwise any number of them."""

    key: str
    dtype: Literal["int64", "float32", "bytes"]
    scalar: bool
    content: str


FIELDS = (
    RecordField("schema_version", "int64", True, "1"),
    RecordField("tokens", "int64", False, "ids[L] >= 0; an image patch holds 0"),
    RecordField("token_kind", "bytes", True, "uint8[L], zlib: 0 text, 1 patch, 2 continuous, 3 discrete, 4 separator, "
                "5 continuous action, 6 discrete action"),
    RecordField("loss_mask", "bytes", True, "uint8[L], zlib: 1 where the model is trained to predict the token"),
    RecordField("step_splits", "int64", False, "[T+1]: timestep t is tokens step_splits[t] to step_splits[t+1]; [0, L] "
                "for a document or sample"),
    RecordField("image_patches", "bytes", True, "uint8[n, 16, 16, 3] in token order, zlib; empty where images/encoded "
                "holds the images, or where there are none"),
    RecordField("images/encoded", "bytes", False, "the source's own JPEG or PNG files, one an image, instead of "
                "image_patches"),
    RecordField("image_grid", "int64", False, "[2m]: rows, columns of patches of each of the m images"),
    RecordField("episode_metadata/episode_id", "bytes", True, "stable: the same episode has it in every conversion"),
    RecordField("episode_metadata/dataset", "bytes", True, "name of the dataset"),
    RecordField("episode_metadata/domain", "bytes", True, "for example BabyAI, text"),
    RecordField("episode_metadata/task", "bytes", True, "its spec is found by this name in tokenizer/spec.json"),
    RecordField("episode_metadata/agent_id", "bytes", True, "the policy that acted"),
    RecordField("episode_metadata/instruction", "bytes", True, "what the agent was told, where it was told once"),
    RecordField("episode_metadata/source_uri", "bytes", True, "file, archive member or environment it came from"),
    RecordField("episode_metadata/source_index", "int64", True, "line, member or episode number there"),
    RecordField("episode_metadata/num_steps", "int64", True, "timesteps of the whole episode"),
    RecordField("episode_metadata/segment_index", "int64", True, "which segment of the episode this record is, from 0"),
    RecordField("episode_metadata/num_segments", "int64", True, "how many there are"),
    RecordField("episode_metadata/step_offset", "int64", True, "the segment's first timestep in the episode"),
    RecordField("episode_metadata/return", "float32", True, "undiscounted sum of rewards; NaN: unknown"),
    RecordField("episode_metadata/success", "int64", True, "1, 0, -1: unknown"),
    RecordField("episode_metadata/terminated", "int64", True, "1: the episode came to its end"),
    RecordField("episode_metadata/truncated", "int64", True, "1: it was cut, for example by a time limit"),
    RecordField("episode_metadata/content_hash", "bytes", True, "sha256 of the whole episode's tokens and pixels, hex"),
)  # fmt: skip
_METADATA = {field.name: f"episode_metadata/{field.name.rstrip('_')}" for field in dataclasses.fields(EpisodeMetadata)}


@dataclasses.dataclass(frozen=True)
class Record:
    """A token sequence and what is known of the episode that it comes from."""

    sequence: TokenSequence
    metadata: EpisodeMetadata = EpisodeMetadata()

    def to_bytes(self) -> bytes:
        """The record's `tf.train.Example`, deterministic. Raises ValueError for a padded sequence."""
        sequence = self.sequence
        if len(sequence) != sequence.step_splits[-1]:
            raise ValueError("a padded sequence is no record: pad when batching")
        values: dict[str, Any] = {
            "schema_version": np.array([SCHEMA_VERSION]),
            "tokens": sequence.ids.astype(np.int64),
            "token_kind": [zlib.compress(sequence.kinds.tobytes(), _ZLIB_LEVEL)],
            "loss_mask": [zlib.compress(sequence.loss_mask.tobytes(), _ZLIB_LEVEL)],
            "step_splits": sequence.step_splits,
            "image_patches": [_pack_patches(sequence)],
            "images/encoded": sequence.encoded,
            "image_grid": sequence.grids.astype(np.int64).ravel(),
        }
        values |= {key: _scalar(getattr(self.metadata, name)) for name, key in _METADATA.items()}
        return encode_example(values)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Record":
        """Raises ValueError that says what is wrong where `data` is no record of this schema."""
        values = decode_example(data)
        for field in FIELDS:
            _check(values, field)
        if values["schema_version"][0] != SCHEMA_VERSION:
            raise ValueError(f"schema_version {values['schema_version'][0]!r}: this release reads {SCHEMA_VERSION}")
        metadata = {
            field.name: _unscalar(values[_METADATA[field.name]], field.type)
            for field in dataclasses.fields(EpisodeMetadata)
        }
        return cls(_sequence(values), EpisodeMetadata(**metadata))


def _pack_patches(sequence: TokenSequence) -> bytes:
    if sequence.encoded or not len(sequence.patches):
        return b""
    return zlib.compress(np.ascontiguousarray(sequence.patches).data, _ZLIB_LEVEL)


def _scalar(value: Any) -> Value:
    if isinstance(value, str):
        return [value.encode()]
    return np.array([value], np.float32) if isinstance(value, float) else np.array([value], np.int64)


def _unscalar(value: Any, kind: Any) -> Any:
    return value[0].decode() if kind is str else kind(value[0])


def _check(values: dict[str, Value], field: RecordField) -> None:
    if field.key not in values:
        raise ValueError(f"no feature {field.key!r}: not a record of this toolchain")
    value = values[field.key]
    if not len(value):  # the wire does not tell of which type an empty list is
        values[field.key] = [] if field.dtype == "bytes" else np.zeros(0, field.dtype)
    elif (field.dtype == "bytes") != isinstance(value, list) or (
        isinstance(value, np.ndarray) and value.dtype != field.dtype
    ):
        raise ValueError(f"feature {field.key!r} is not a list of {field.dtype}")
    if field.scalar and len(value) != 1:
        raise ValueError(f"feature {field.key!r} must hold one value, not {len(value)}")


def _inflate(data: bytes, length: int, key: str) -> NDArray[np.uint8]:
    """uint8[length] from zlib; never inflates beyond it, whatever the data claims."""
    if not data and not length:
        return np.zeros(0, np.uint8)
    decoder = zlib.decompressobj()
    try:
        raw = decoder.decompress(data, length + 1)
    except zlib.error as error:
        raise ValueError(f"feature {key!r} is no zlib data: {error}") from error
    if len(raw) != length or not (decoder.eof or decoder.decompress(decoder.unconsumed_tail, 1) == b"" and decoder.eof):
        raise ValueError(f"feature {key!r} does not inflate to {length} bytes")
    return np.frombuffer(raw, np.uint8)


def _sequence(values: dict[str, Any]) -> TokenSequence:
    tokens, grid = values["tokens"], values["image_grid"]
    if tokens.size and (tokens.min() < 0 or tokens.max() >= 2**31):
        raise ValueError("feature 'tokens' holds a number that is no id")
    if grid.size % 2 or (grid < 1).any() or (grid > 2**16).any():
        raise ValueError(f"feature 'image_grid' holds no pairs of rows and columns: {grid.tolist()[:8]}")
    kinds = _inflate(values["token_kind"][0], len(tokens), "token_kind")
    loss_mask = _inflate(values["loss_mask"][0], len(tokens), "loss_mask")
    for key, bytes_, most in (("token_kind", kinds, max(Kind)), ("loss_mask", loss_mask, 1)):
        if bytes_.size and bytes_.max() > most:
            raise ValueError(f"feature {key!r} holds {bytes_.max()}, the most is {int(most)}")
    if values["step_splits"].size and values["step_splits"][-1] != len(tokens):
        raise ValueError(f"feature 'step_splits' ends at {values['step_splits'][-1]}, there are {len(tokens)} tokens")
    grids = grid.reshape(-1, 2).astype(np.int32)
    encoded = tuple(values["images/encoded"])
    if encoded:
        patches = _decode_images(encoded, grids)
    else:
        count = int(np.count_nonzero(kinds == Kind.PATCH))
        packed = _inflate(values["image_patches"][0], count * 16 * 16 * 3, "image_patches")
        patches = packed.reshape(count, 16, 16, 3)
    return TokenSequence(
        tokens.astype(np.int32),
        kinds,
        loss_mask,
        values["step_splits"],
        patches,
        grids,
        encoded,
    )


def _decode_images(encoded: tuple[bytes, ...], grids: NDArray[np.int32]) -> NDArray[np.uint8]:
    images = [ImageTokenizer().encode(data) for data in encoded]
    if [image.grid for image in images] != [tuple(grid) for grid in grids.tolist()]:
        raise ValueError("feature 'images/encoded' does not fit 'image_grid'")
    return np.concatenate([image.pixels for image in images])
