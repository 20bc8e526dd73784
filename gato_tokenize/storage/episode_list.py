"""The episode list of a dataset, `episodes.jsonl.gz`: one line a record."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

EPISODES = "episodes.jsonl.gz"


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with gzip.open(path, "rb") as file:
            for text in file:
                line = json.loads(text)
                if not isinstance(line, dict):
                    raise ValueError(f"a line is no JSON object: {text[:80]!r}")
                yield line
    except (EOFError, gzip.BadGzipFile, zlib.error, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}; `gato-data verify {path.parent}` tells more") from error


EPISODE_COLUMNS = (  # of the metadata, in episodes.jsonl.gz
    *("episode_id", "task", "agent_id", "source_uri", "source_index"),
    *("segment_index", "num_segments", "success", "content_hash"),
)
