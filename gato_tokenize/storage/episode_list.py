"""The episode list of a dataset, `episodes.jsonl.gz`: a line for each record, in the order of the shards."""

import array
import dataclasses
import gzip
import hashlib
import itertools
import json
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_tokenize.storage.ranges import open_stream
from gato_tokenize.storage.records import Record
from gato_tokenize.storage.segments import content_hash
from gato_tokenize.storage.store_path import Place

EPISODES = "episodes.jsonl.gz"
EPISODE_COLUMNS = (  # those taken from the metadata as they are
    *("episode_id", "task", "agent_id", "source_uri", "source_index"),
    *("segment_index", "num_segments", "success", "content_hash"),
)
_PLACE = ("shard", "record", "offset", "bytes")  # of the record: its shard, its number and extent in it
COLUMNS = (*_PLACE, "tokens", "steps", *EPISODE_COLUMNS, "return")
_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=False)  # `json.dumps` would make one for each line
_REQUIRED = frozenset(COLUMNS)
_DIGEST = np.dtype("V16")  # of an id: two ids of 2^40 are alike with a chance of 2^-49


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


def read_lines(path: Place) -> Iterator[dict[str, Any]]:
    """The lines of an episode list, each with all of `COLUMNS`.

    Raises ValueError naming the file if it is cut or damaged, or if a line lacks a column.
    """
    try:
        with open_stream(path) as packed, gzip.open(packed, "rb") as file:
            for text in file:
                line = json.loads(text)
                if not isinstance(line, dict) or not line.keys() >= _REQUIRED:
                    raise ValueError(f"a line is not one of an episode list: {text[:80]!r}")
                yield line
    except (EOFError, gzip.BadGzipFile, zlib.error, ValueError) as error:
        hint = f"; `gato-data verify {path.parent}` reports more" if path.name == EPISODES else ""
        raise ValueError(f"{path} is damaged: {error}{hint}") from error


def _heads(path: Place) -> Iterator[dict[str, Any]]:
    """The line of the first record of each episode."""
    return (line for line in read_lines(path) if line["segment_index"] == 0)


def _digest(episode_id: object) -> bytes:
    return hashlib.sha256(str(episode_id).encode("utf-8", "surrogatepass")).digest()[: _DIGEST.itemsize]


@dataclasses.dataclass(frozen=True, eq=False)
class EpisodeHeads:
    """Where each episode of a list begins, by its number and by its id: 32 bytes of memory an episode."""

    digests: NDArray[np.void]  # [episodes], of their ids, sorted
    numbers: NDArray[np.int32]  # [episodes], of the episodes whose ids these are
    shards: list[str]  # the distinct names
    places: NDArray[np.int32]  # [episodes, 3]: the shard's index, the first record there, the number of records

    @classmethod
    def read(cls, path: Place) -> "EpisodeHeads":
        """Read a list. Raises ValueError as `read_lines` does, and for an id that stands twice."""
        shards: dict[str, int] = {}
        unsorted, places = bytearray(), array.array("i")
        for line in _heads(path):
            unsorted += _digest(line["episode_id"])
            shard = shards.setdefault(line["shard"], len(shards))
            places.extend((shard, line["record"], line["num_segments"]))
        digests = np.frombuffer(unsorted, _DIGEST)
        numbers = np.argsort(digests).astype(np.int32)
        digests = digests[numbers]
        if (double := np.flatnonzero(digests[1:] == digests[:-1])).size:
            head = next(itertools.islice(_heads(path), int(numbers[double[0]]), None))
            raise ValueError(f"{path} is damaged: episode {head['episode_id']!r} stands twice")
        return cls(digests, numbers, list(shards), np.frombuffer(places, np.int32).reshape(-1, 3))

    def number(self, episode_id: str) -> int | None:
        """Find an episode by its id; None if there is none of that id."""
        wanted = np.frombuffer(_digest(episode_id), _DIGEST)[0]
        at = int(np.searchsorted(self.digests, wanted))
        return int(self.numbers[at]) if at < len(self.digests) and self.digests[at] == wanted else None

    @property
    def counts(self) -> dict[str, int]:
        """{shard: the number of its episodes}."""
        return dict(zip(self.shards, np.bincount(self.places[:, 0]).tolist(), strict=True)) if self.shards else {}

    def place(self, number: int) -> tuple[str, int, int]:
        """Return (shard, first record, number of records) of an episode."""
        shard, first, segments = self.places[number].tolist()
        return self.shards[shard], first, segments
