"""Reading a partition: every candidate with what became of it."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from gato_tokenize import Episode
from pipelines.sources.source import Candidate, Filtered, Reject, Source


def read_partition(
    source: Source, partition: dict[str, Any], candidates: Iterator[Candidate] | None = None
) -> Iterator[tuple[Candidate, Episode | Reject | Filtered]]:
    """Every candidate of a partition with what became of it; never raises for what is in the data.

    candidates: instead of all that the source finds there. An error of the iterator itself gives one last Reject: what
    follows in the partition cannot be reached.
    """
    last = Candidate("", source.source, -1, lambda: None)  # type: ignore[arg-type,return-value]
    candidates = source.candidates(partition) if candidates is None else candidates
    while True:
        try:
            candidate = next(candidates)
        except StopIteration:
            return
        except (Exception, SystemExit) as error:
            lost = Candidate(
                f"after {last.episode_id or 'the start'}", last.source_uri, last.source_index + 1, last.load
            )
            message = f"the rest of the partition {partition} cannot be read: {error}"
            yield lost, dataclasses.replace(Reject.of(source.source, lost, "read", error), message=message)
            return
        try:
            yield candidate, candidate.load()
        except Filtered as reason:
            yield candidate, reason
        except (Exception, SystemExit) as error:  # a library made for programs may leave them
            yield candidate, Reject.of(source.source, candidate, "read", error)
        last = candidate
