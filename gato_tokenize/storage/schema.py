"""The schema of a record: one table of fields. Writer, readers, TFDS's features.json and the documentation use it."""

import dataclasses
from typing import Literal

SCHEMA_VERSION = 1


@dataclasses.dataclass(frozen=True)
class RecordField:
    """One feature of a record. A `scalar` has exactly one value, others have any number of values."""

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
