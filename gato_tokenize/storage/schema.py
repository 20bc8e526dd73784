"""The schema of a record: one table of fields. Writer, readers, TFDS's features.json and the documentation use it."""

import dataclasses
import re
from typing import Literal

SCHEMA_VERSION = 2  # of the records that are written
READABLE = (1, 2)  # a record of schema 1 has every feature but `rewards`
TASK = "text"  # of a record that names none: short documents are the records whose metadata cost the most


@dataclasses.dataclass(frozen=True)
class RecordField:
    """One feature of a record. A `scalar` has exactly one value, others have any number of values."""

    key: str
    dtype: Literal["int64", "float32", "bytes"]
    scalar: bool
    content: str
    absent: str  # what its absence means; "": every record has it
    tfds: Literal["bool", "uint32", ""] = ""  # its type in TFDS, where that reads an absent one as its default, 0


FIELDS = (
    RecordField("schema_version", "int64", True, "number of the schema", "2", "uint32"),
    RecordField("tokens", "int64", False, "ids[L] >= 0; an image patch holds 0", ""),
    RecordField("token_kind", "bytes", True, "uint8[L], zlib: 0 text, 1 patch, 2 continuous, 3 discrete, 4 separator, "
                "5 continuous action, 6 discrete action", "all 0"),
    RecordField("loss_mask", "bytes", True, "uint8[L], zlib: 1 where the model is trained to predict the token",
                "all 1"),
    RecordField("step_splits", "int64", False, "[T+1]: timestep t is tokens step_splits[t] to step_splits[t+1]",
                "[0, L]: a document or sample, or one timestep"),
    RecordField("image_patches", "bytes", True, "uint8[n, 16, 16, 3] in token order, zlib",
                "images/encoded holds the images, or there are none"),
    RecordField("images/encoded", "bytes", False, "the source's own JPEG or PNG files, one an image, instead of "
                "image_patches", "no such files"),
    RecordField("image_grid", "int64", False, "[2m]: rows, columns of patches of each of the m images", "no images"),
    RecordField("rewards", "float32", False, "[T]: the reward for the action of each timestep", "unknown"),
    RecordField("episode_metadata/episode_id", "bytes", True, "stable: the same episode has it in every conversion",
                ""),
    RecordField("episode_metadata/dataset", "bytes", True, "name of the dataset", "the folder's"),
    RecordField("episode_metadata/domain", "bytes", True, "for example BabyAI, text", "the task"),
    RecordField("episode_metadata/task", "bytes", True, "its spec is found by this name in tokenizer/spec.json", TASK),
    RecordField("episode_metadata/agent_id", "bytes", True, "the policy that acted", "empty"),
    RecordField("episode_metadata/instruction", "bytes", True, "what the agent was told, where it was told once",
                "empty"),
    RecordField("episode_metadata/source_uri", "bytes", True, "file, archive member or environment it came from",
                "the episode id, without a `#number` at its end"),
    RecordField("episode_metadata/source_index", "int64", True, "line, member or episode number there",
                "that number, else 0"),
    RecordField("episode_metadata/num_steps", "int64", True, "timesteps of the whole episode", "T"),
    RecordField("episode_metadata/segment_index", "int64", True, "which segment of the episode this record is, from 0",
                "0", "uint32"),
    RecordField("episode_metadata/num_segments", "int64", True, "how many there are", "1"),
    RecordField("episode_metadata/step_offset", "int64", True, "the segment's first timestep in the episode",
                "0", "uint32"),
    RecordField("episode_metadata/return", "float32", True, "undiscounted sum of rewards", "unknown"),
    RecordField("episode_metadata/success", "int64", True, "1 or 0", "unknown"),
    RecordField("episode_metadata/terminated", "int64", True, "1: the episode came to its end", "0", "bool"),
    RecordField("episode_metadata/truncated", "int64", True, "1: it was cut, for example by a time limit", "0", "bool"),
    RecordField("episode_metadata/content_hash", "bytes", True, "sha256 of the whole episode's tokens and pixels, hex",
                "the record is the whole episode; the episode list has its hash"),
)  # fmt: skip


def origin_of(episode_id: str) -> tuple[str, int]:
    """The source's URI and index of an episode whose record does not have them.

    >>> origin_of("docs/a.jsonl#12"), origin_of("docs/a.txt"), origin_of("docs/a#012")
    (('docs/a.jsonl', 12), ('docs/a.txt', 0), ('docs/a#012', 0))
    """
    uri, mark, number = episode_id.rpartition("#")
    if mark and re.fullmatch(r"0|[1-9][0-9]{0,17}", number):  # as an int64 is written
        return uri, int(number)
    return episode_id, 0
