"""Selection: which candidates of a planned partition are loaded."""

from collections.abc import Mapping

from pipelines.conversion.work import Work
from pipelines.sources.reading import Reject
from pipelines.sources.source import Candidate

_GONE = "a retry finds an episode by its place, which a fix must keep: it is not there any more"
_LOST = "the partition ended before it was reached"


class Selection:
    """The decisions about the candidates of a work. All are loaded, or only those that a retry asks for, but never one
    in the `quarantine`, {ordinal: its reject}.

    Pass `limit` and `decide` to `read_partition`, and add the rejects of `rest` after it.
    """

    def __init__(self, work: Work, quarantine: Mapping[int, Reject]) -> None:
        self._work, self._quarantine = work, quarantine
        self._asked = {(uri, index): name for uri, index, name in work.retry.only} if work.retry else {}
        self._end = next((reject for reject in quarantine.values() if reject.ends_partition), None)

    @property
    def limit(self) -> int | None:
        """The largest number of candidates to search for: the search for the next one may be quarantined."""
        bounds = (self._work.limit, self._end.lost_from if self._end else None)
        return min((bound for bound in bounds if bound is not None), default=None)

    def decide(self, ordinal: int, candidate: Candidate) -> bool | Reject:
        """Return True to load a candidate, False to pass it over, or the reject that replaces it. Ask once for each."""
        return self._wanted(ordinal, candidate) and self._quarantine.get(ordinal, True)

    def _wanted(self, ordinal: int, candidate: Candidate) -> bool:
        retry = self._work.retry
        if retry is None:
            return True
        asked = self._asked.pop((candidate.source_uri, candidate.source_index), None)
        return asked is not None or (retry.from_ is not None and ordinal >= retry.from_)

    def rest(self, lost: bool) -> list[Reject]:
        """Return the rejects to add after all candidates: of the quarantined search, and of each episode that a retry
        asks for and that was not found. lost: reading ended before the partition did."""
        end = [self._end] if self._end and not lost else []
        message = _LOST if lost or end else _GONE
        source = self._work.source
        return end + [
            Reject(source, uri, index, name, "read", "LookupError", message)
            for (uri, index), name in self._asked.items()
        ]
