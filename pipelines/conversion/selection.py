"""Selection: which candidates of a planned partition are loaded."""

from collections.abc import Mapping

from pipelines.conversion.work import Work
from pipelines.sources.reading import Reject
from pipelines.sources.source import Candidate

_GONE = "a retry finds an episode by its place, which a fix must keep: it is not there any more"
_LOST = "the partition ended before it was reached"


class Selection:
    """The decision about each candidate of `work`: all are loaded, or those that a retry asks for, but never one in
    the `quarantine`, {ordinal: the reject that stands for it}.

    Give `limit` and `decide` to `read_partition`, then add the rejects of `rest`.
    """

    def __init__(self, work: Work, quarantine: Mapping[int, Reject]) -> None:
        self._work, self._quarantine = work, quarantine
        self._asked = {(uri, index): name for uri, index, name in work.retry.only} if work.retry else {}
        self._end = next((reject for reject in quarantine.values() if reject.ends_partition), None)

    @property
    def limit(self) -> int | None:
        """The number of candidates to search for at most: the search for the next one may be quarantined."""
        bounds = (self._work.limit, self._end.lost_from if self._end else None)
        return min((bound for bound in bounds if bound is not None), default=None)

    def decide(self, ordinal: int, candidate: Candidate) -> bool | Reject:
        """True to load a candidate, False to pass it over, or the reject that stands for it. Ask once for each."""
        return self._wanted(ordinal, candidate) and self._quarantine.get(ordinal, True)

    def _wanted(self, ordinal: int, candidate: Candidate) -> bool:
        retry = self._work.retry
        if retry is None:
            return True
        asked = self._asked.pop((candidate.source_uri, candidate.source_index), None)
        return asked is not None or (retry.from_ is not None and ordinal >= retry.from_)

    def rest(self, lost: bool) -> list[Reject]:
        """The rejects that follow when the candidates are read: the quarantined search, and each episode that a retry
        asks for and that was not there. lost: reading ended before the partition did."""
        end = [self._end] if self._end and not lost else []
        message = _LOST if lost or end else _GONE
        source = self._work.source
        return end + [
            Reject(source, uri, index, name, "read", "LookupError", message)
            for (uri, index), name in self._asked.items()
        ]
