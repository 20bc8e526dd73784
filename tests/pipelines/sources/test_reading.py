"""The loop that reads a partition: what it yields for each candidate, which steps it reports, how it is decided."""

from collections.abc import Iterator
from typing import Any

import pytest

from gato_tokenize import Episode, EpisodeMetadata, EpisodeSpec
from pipelines.sources.errors import Filtered
from pipelines.sources.reading import Reject, Step, read_partition
from pipelines.sources.source import Candidate, Source


class Numbers(Source):
    """Documents 0 .. `count` - 1; a fault may be raised where number `at` is loaded, or searched for."""

    def __init__(self, count: int, at: int = -1, fault: BaseException | None = None, searching: bool = False) -> None:
        self.source, self.count, self.at, self.fault, self.searching = "toy:x", count, at, fault, searching
        self.loaded: list[int] = []

    def specs(self) -> dict[str, EpisodeSpec]:
        return {"toy": EpisodeSpec.document()}

    def inputs(self) -> list[dict[str, Any]]:
        return []

    def partitions(self, limit: int | None = None) -> list[dict[str, Any]]:
        return [{}]

    def candidates(self, partition: dict[str, Any]) -> Iterator[Candidate]:
        for number in range(self.count):
            if number == self.at and self.searching and self.fault:
                raise self.fault
            yield Candidate(f"toy/{number}", "x", number, lambda number=number: self.load(number))  # type: ignore[misc]

    def load(self, number: int) -> Episode:
        self.loaded.append(number)
        if number == self.at and self.fault:
            raise self.fault
        return Episode(self.specs()["toy"], {"text": [str(number)]}, metadata=EpisodeMetadata(f"toy/{number}", "toy"))


def named(candidate: Candidate, outcome: Any) -> tuple[str, type]:
    return candidate.episode_id, type(outcome)


def test_every_candidate_by_hand() -> None:
    steps: list[Step] = []
    source = Numbers(2)
    read = [named(*item) for item in read_partition(source, {}, on_step=steps.append)]
    assert read == [("toy/0", Episode), ("toy/1", Episode)]
    assert steps == [
        Step(0, "next", "", "toy:x", -1),
        Step(0, "read", "toy/0", "x", 0),
        Step(1, "next", "toy/0", "x", 0),
        Step(1, "read", "toy/1", "x", 1),
        Step(2, "next", "toy/1", "x", 1),
    ]


@pytest.mark.parametrize(
    ("fault", "kind"), [(Filtered("blank"), Filtered), (KeyError("lost"), Reject), (SystemExit(4), Reject)]
)
def test_a_fault_of_one_episode_costs_that_one(fault: BaseException, kind: type) -> None:
    read = list(read_partition(Numbers(3, 1, fault), {}))
    assert [type(outcome) for _, outcome in read] == [Episode, kind, Episode]
    if kind is Reject:
        expected = Reject("toy:x", "x", 1, "toy/1", "read", type(fault).__name__, str(fault))
        assert read[1][1] == expected and not expected.ends_partition


@pytest.mark.parametrize("at", [0, 2])
def test_a_fault_of_the_iterator_ends_the_partition(at: int) -> None:
    *before, (candidate, lost) = read_partition(Numbers(4, at, OSError("cut short"), searching=True), {"part": 7})
    assert [type(outcome) for _, outcome in before] == [Episode] * at
    assert isinstance(lost, Reject) and lost.ends_partition and lost.lost_from == at
    name = "after toy/1" if at else "after the start"
    assert (candidate.episode_id, lost.episode_id, lost.source_index) == (name, name, at)
    assert lost.source_uri == ("x" if at else "toy:x") and lost.reason == "read: OSError"
    assert lost.message == "the rest of the partition {'part': 7} cannot be read: cut short"
    assert "lost_from" not in lost.to_json() and Reject(**lost.to_json()) == lost
    with pytest.raises(LookupError):
        candidate.load()


@pytest.mark.parametrize(("limit", "count"), [(1, 1), (2, 2), (3, 3), (4, 3)])
def test_a_limit_is_a_number_of_candidates(limit: int, count: int) -> None:
    source = Numbers(3)
    assert len(list(read_partition(source, {}, limit))) == count and source.loaded == list(range(count))


def test_a_limit_does_not_search_further() -> None:
    source = Numbers(3, 2, OSError("cut short"), searching=True)
    assert [type(outcome) for _, outcome in read_partition(source, {}, 2)] == [Episode, Episode]


def test_a_decision_passes_over_and_rejects_without_loading() -> None:
    source, steps = Numbers(4), list[Step]()
    stands_for_2 = Reject("toy:x", "x", 2, "toy/2", "read", "ChildProcessError", "died")

    def decide(ordinal: int, candidate: Candidate) -> bool | Reject:
        assert candidate.source_index == ordinal
        return stands_for_2 if ordinal == 2 else ordinal != 1

    read = list(read_partition(source, {}, on_step=steps.append, decide=decide))
    assert [candidate.episode_id for candidate, _ in read] == ["toy/0", "toy/2", "toy/3"]
    assert read[1][1] is stands_for_2 and source.loaded == [0, 3]
    assert [step.ordinal for step in steps if step.stage == "read"] == [0, 3]


@pytest.mark.parametrize("stage", ["read", "tokenize"])
def test_a_step_says_whose_fault_it_was(stage: str) -> None:
    step = Step(5, stage, "toy/7", "x", 7)
    error = ChildProcessError("the process died of SIGSEGV")
    assert step.reject("toy:x", error) == Reject(
        "toy:x", "x", 7, "toy/7", stage, "ChildProcessError", "the process died of SIGSEGV"
    )
    lost = step._replace(stage="next").reject("toy:x", error)
    assert (lost.episode_id, lost.source_index, lost.lost_from) == ("after toy/7", 8, 5)
    assert lost.message == "the rest of the partition cannot be read: the process died of SIGSEGV"
