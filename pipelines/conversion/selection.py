"""Quarantine: candidates of a partition that must not be touched again, because a process died or hung of them.

`_run/part-NNNNN.quarantine.json` is kept with the output: every later attempt leaves out the same and gives the same
shard.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from gato_tokenize import Episode
from pipelines.conversion.journal import Place, Watch
from pipelines.conversion.limit import planned_candidates
from pipelines.sources.reading import read_partition
from pipelines.sources.source import Candidate, Filtered, Reject, Source


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


class LeftOut(Exception):
    """In the place of what a quarantined candidate would have given."""


class Guarded:
    """The candidates of `work`, a partition of a plan, with what became of each.

    `watch` is told of every step before it is made. A quarantined candidate is never loaded: its result is the dead
    letter that the quarantine holds. Where `work` is a retry, all candidates but those asked for are passed over; one
    that is not there any more is a dead letter again.
    """

    def __init__(
        self, source: Source, work: Mapping[str, Any], quarantined: Mapping[int, Quarantined], watch: Watch
    ) -> None:
        self._source, self._work, self._quarantined, self._watch = source, work, quarantined, watch
        retry = work.get("retry")
        self._asked = {(uri, index): name for uri, index, name in retry["only"]} if retry else None
        self._from = retry["from"] if retry else None
        self._ordinal = 0
        self._last = ("", "", -1)
        self._ended = False

    def results(self) -> Iterator[tuple[Candidate, Episode | Reject | Filtered]]:
        """As `read_partition`: every candidate with what became of it; never raises for what is in the data."""
        for candidate, result in read_partition(self._source, self._work["partition"], self._candidates()):
            left_out = self._quarantined.get(self._ordinal)
            yield candidate, left_out.reject if left_out else result
        for (uri, index), name in (self._asked or {}).items():
            message = "a retry finds an episode by its place, which a fix must keep: it is not there any more"
            if not self._ended:
                message = "the partition ended before it was reached"
            gone = Candidate(name, uri, index, functools.partial(_left_out, message))
            yield gone, Reject(self._source.source, uri, index, name, "read", "LookupError", message)

    def rest_lost(self, letters: int) -> dict[str, int] | None:
        """Where reading ended before the partition did, of whose results `letters` were dead letters: "from", the
        ordinal of the candidate that could not be found, and "letter", the number of the dead letter that says so.
        None where all was read."""
        return None if self._ended else {"from": self._ordinal, "letter": letters - 1 - len(self._asked or {})}

    def tell(self, stage: str) -> None:
        """Tell the watch of a step with the candidate that `results` gave last."""
        self._watch(Place(self._ordinal, stage, *self._last))

    def _candidates(self) -> Iterator[Candidate]:
        candidates = planned_candidates(self._source, self._work)
        for self._ordinal in itertools.count():
            left_out = self._quarantined.get(self._ordinal)
            if left_out and left_out.ends_partition:
                raise LeftOut(left_out.reject.message)
            self.tell("next")
            try:
                candidate = next(candidates)
            except StopIteration:
                self._ended = True
                return
            self._last = (candidate.episode_id, candidate.source_uri, candidate.source_index)
            if self._wanted(candidate):
                load = functools.partial(_left_out, "quarantined") if left_out else self._loader(candidate)
                yield dataclasses.replace(candidate, load=load)

    def _loader(self, candidate: Candidate) -> Any:
        def load() -> Episode:
            self.tell("read")
            return candidate.load()

        return load

    def _wanted(self, candidate: Candidate) -> bool:
        if self._asked is None:
            return True
        asked = self._asked.pop((candidate.source_uri, candidate.source_index), None)
        return asked is not None or (self._from is not None and self._ordinal >= self._from)


def _left_out(message: str) -> Episode:
    raise LeftOut(message)
