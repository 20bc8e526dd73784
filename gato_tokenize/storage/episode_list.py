"""The episode list of a dataset, `episodes.jsonl.gz`: a line for each record, in the order of the shards."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gato_tokenize.storage.records import Record
from gato_tokenize.storage.segments import content_hash

EPISODES = "episodes.jsonl.gz"
EPISODE_COLUMNS = (  # those taken from the metadata as they are
    *("episode_id", "task", "agent_id", "source_uri", "source_index"),
    *("segment_index", "num_segments", "success", "content_hash"),
)
_PLACE = ("shard", "record", "offset", "bytes")  # of the record: its shard, its number and extent in it
COLUMNS = (*_PLACE, "tokens", "steps", *EPISODE_COLUMNS, "return")
_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=False)  # `json.dumps` would make one for each line
_REQUIRED = frozenset(COLUMNS)


def episode_line(record: Record, shard: str, number: int, extent: tuple[int, int]) -> dict[str, Any]:
    """The line of a record, which is number `number` of its shard, with an extent of (offset, bytes) there."""
    metadata = record.metadata
    line: dict[str, Any] = dict(zip(_PLACE, (shard, number, *extent), strict=True))
    line |= {"tokens": len(record.sequence), "steps": record.sequence.num_steps}
    line |= {name: getattr(metadata, name) for name in EPISODE_COLUMNS}
    line["content_hash"] = metadata.content_hash or content_hash(record.sequence)  # the record is the whole episode
    line["return"] = metadata.return_ if metadata.return_ == metadata.return_ else None  # JSON has no NaN
    return line


def line_bytes(line: dict[str, Any]) -> bytes:
    """A line as it is written, with its line end.

    >>> line_bytes({"task": "b", "record": 1})
    b'{"record": 1, "task": "b"}\\n'
    """
    return (_ENCODER.encode(line) + "\n").encode()


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of an episode list, each with all of `COLUMNS`.

    Raises ValueError naming the file if it is cut or damaged, or if a line lacks a column.
    """
    try:
        with gzip.open(path, "rb") as file:
            for text in file:
                line = json.loads(text)
                if not isinstance(line, dict) or not line.keys() >= _REQUIRED:
                    raise ValueError(f"a line is not one of an episode list: {text[:80]!r}")
                yield line
    except (EOFError, gzip.BadGzipFile, zlib.error, ValueError) as error:
        hint = f"; `gato-data verify {path.parent}` reports more" if path.name == EPISODES else ""
        raise ValueError(f"{path} is damaged: {error}{hint}") from error
