"""Which candidates of a work are loaded: limits, quarantines and retries, each by hand."""

from pipelines.conversion.selection import Selection
from pipelines.conversion.work import Retry, Work
from pipelines.sources.reading import Reject
from pipelines.sources.source import Candidate


def candidate(number: int) -> Candidate:
    return Candidate(f"toy/{number}", "x", number, lambda: None)  # type: ignore[arg-type,return-value]


def reject(number: int, lost_from: int | None = None) -> Reject:
    return Reject("toy:x", "x", number, f"toy/{number}", "read", "ChildProcessError", "died", lost_from)


def decisions(selection: Selection, count: int = 6) -> list[bool | Reject]:
    return [selection.decide(number, candidate(number)) for number in range(count)]


def test_all_are_loaded() -> None:
    selection = Selection(Work("toy:x", {}), {})
    assert decisions(selection) == [True] * 6 and selection.limit is None
    assert selection.rest(lost=False) == selection.rest(lost=True) == []


def test_the_quarantined_are_not() -> None:
    selection = Selection(Work("toy:x", {}), {2: reject(2)})
    assert decisions(selection) == [True, True, reject(2), True, True, True]
    assert selection.limit is None and selection.rest(lost=False) == []


def test_a_quarantined_search_ends_the_partition() -> None:
    selection = Selection(Work("toy:x", {}), {2: reject(2), 4: reject(4, lost_from=4)})
    assert selection.limit == 4 and selection.rest(lost=False) == [reject(4)]
    assert selection.rest(lost=True) == [], "it ended even before"
    assert Selection(Work("toy:x", {}), {0: reject(0, lost_from=0)}).limit == 0


def test_the_nearer_of_two_limits_holds() -> None:
    assert Selection(Work("toy:x", {}, limit=3), {}).limit == 3
    assert Selection(Work("toy:x", {}, limit=3), {1: reject(1, lost_from=1)}).limit == 1


def test_a_retry_loads_what_it_asks_for() -> None:
    retry = Retry(0, (("x", 1, "toy/1"), ("x", 3, "toy/3"), ("x", 9, "toy/9")), None)
    selection = Selection(Work("toy:x", {}, retry), {3: reject(3)})
    assert decisions(selection) == [False, True, False, reject(3), False, False]
    (gone,) = selection.rest(lost=False)
    assert (gone.episode_id, gone.source_index, gone.exception) == ("toy/9", 9, "LookupError")
    assert gone.message.endswith("it is not there any more") and not gone.ends_partition
    (unreached,) = selection.rest(lost=True)
    assert unreached.message == "the partition ended before it was reached"


def test_a_retry_of_a_rest_that_was_lost() -> None:
    selection = Selection(Work("toy:x", {}, Retry(0, (("x", 1, "toy/1"),), 4)), {})
    assert decisions(selection) == [False, True, False, False, True, True]
