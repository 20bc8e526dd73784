"""Quarantine: candidates of a partition that must not be touched again, because a process died or hung of them.

`_run/part-NNNNN.quarantine.json` is kept with the output: every later attempt leaves out the same and gives the same
shard.
"""

import dataclasses
import json
from pathlib import Path

from gato_tokenize.durable import durable_file
from pipelines.journal import Place
from pipelines.source import Reject


@dataclasses.dataclass(frozen=True)
class Quarantined:
    """A candidate to leave out, and the dead letter that stands for it."""

    ordinal: int  # in its partition, from 0
    ends_partition: bool  # it could not even be found: nor can what follows it
    reject: Reject

    @classmethod
    def of(cls, source: str, place: Place, error: Exception) -> "Quarantined":
        """What is left out after `error` ended, at `place`, a process that did nothing else."""
        if place.stage != "next":
            stage = "read" if place.stage == "read" else "tokenize"
            named = (place.source_uri, place.source_index, place.episode_id)
            return cls(place.ordinal, False, Reject(source, *named, stage, type(error).__name__, str(error)))
        named = (place.source_uri or source, place.source_index + 1, f"after {place.episode_id or 'the start'}")
        message = f"the rest of the partition cannot be read: {error}"
        return cls(place.ordinal, True, Reject(source, *named, "read", type(error).__name__, message))


def quarantine_path(folder: Path, index: int) -> Path:
    return folder / "_run" / f"part-{index:05d}.quarantine.json"


def read_quarantine(folder: Path, index: int) -> dict[int, Quarantined]:
    """{ordinal: what is left out} of a partition; empty where nothing is."""
    path = quarantine_path(folder, index)
    if not path.exists():
        return {}
    entries = [{**entry, "reject": Reject(**entry["reject"])} for entry in json.loads(path.read_text())]
    return {entry["ordinal"]: Quarantined(**entry) for entry in entries}


def add_to_quarantine(folder: Path, index: int, left_out: Quarantined) -> None:
    """Leave out one more, from now on."""
    entries = {**read_quarantine(folder, index), left_out.ordinal: left_out}
    lines = [dataclasses.asdict(entries[ordinal]) for ordinal in sorted(entries)]
    with durable_file(quarantine_path(folder, index)) as file:
        file.write((json.dumps(lines, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())
