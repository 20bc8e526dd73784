"""Reading a partition: every candidate with what became of it."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from gato_tokenize import Episode
from pipelines.sources.errors import Filtered
from pipelines.sources.source import Candidate, Source


@dataclasses.dataclass(frozen=True)
class Reject:
    """An episode that could not be converted, and why; or the rest of a partition that cannot be read any further."""

    source: str
    source_uri: str
    source_index: int
    episode_id: str
    stage: str  # "read" or "tokenize"
    exception: str
    message: str
    lost_from: int | None = dataclasses.field(default=None, compare=False)  # ordinal of the first candidate lost

    @classmethod
    def of(cls, source: str, candidate: Candidate, stage: str, error: BaseException) -> "Reject":
        names = (candidate.source_uri, candidate.source_index, candidate.episode_id)
        return cls(source, *names, stage, type(error).__name__, str(error))

    @property
    def reason(self) -> str:
        """The words by which rejects are counted: "read: ValueError"."""
        return f"{self.stage}: {self.exception}"

    @property
    def ends_partition(self) -> bool:
        """True if this is no single episode, but the rest of the partition."""
        return self.lost_from is not None

    def to_json(self) -> dict[str, Any]:
        """Return its line in `rejects/`, which does not hold `lost_from`. `Reject(**line)` is the inverse."""
        line = dataclasses.asdict(self)
        del line["lost_from"]
        return line


Outcome = Episode | Reject | Filtered


class Step(NamedTuple):
    """A step that is about to be made with a candidate. Its names are those of the candidate; as long as that is not
    found, those of the one before it."""

    ordinal: int  # of the candidate in its partition, from 0
    stage: str  # "next": it is searched for; "read"; "tokenize": also written; "save": the partition's end
    episode_id: str
    source_uri: str
    source_index: int

    @classmethod
    def with_candidate(cls, ordinal: int, stage: str, candidate: Candidate) -> "Step":
        return cls(ordinal, stage, candidate.episode_id, candidate.source_uri, candidate.source_index)

    def reject(self, source: str, error: BaseException, partition: str = "the partition") -> Reject:
        """Return the reject for an `error` that ended this step. If the step is "next", it ends the partition."""
        exception = type(error).__name__
        if self.stage != "next":
            return Reject(
                source, self.source_uri, self.source_index, self.episode_id, self.stage, exception, str(error)
            )
        name = f"after {self.episode_id or 'the start'}"
        message = f"the rest of {partition} cannot be read: {error}"
        return Reject(source, self.source_uri, self.source_index + 1, name, "read", exception, message, self.ordinal)


def load_every(ordinal: int, candidate: Candidate) -> bool:
    """Decide to load every candidate."""
    return True


def read_partition(
    source: Source,
    partition: dict[str, Any],
    limit: int | None = None,
    on_step: Callable[[Step], None] = lambda step: None,
    decide: Callable[[int, Candidate], bool | Reject] = load_every,
) -> Iterator[tuple[Candidate, Outcome]]:
    """Yield every candidate of a partition with what became of it; nothing in the data makes this raise.

    limit: the largest number of candidates to search for. on_step: called before each step "next" and "read". decide:
    called with each candidate and its ordinal in the partition; returns True to load it, False to pass it over, or the
    reject that replaces it. An error of the source's iterator becomes one last reject, which ends the partition.
    """
    candidates = source.candidates(partition)
    last = Candidate("", source.source, -1, _unreachable)
    for ordinal in itertools.count():
        if ordinal == limit:
            return
        step = Step.with_candidate(ordinal, "next", last)
        on_step(step)
        try:
            candidate = next(candidates)
        except StopIteration:
            return
        except (Exception, SystemExit) as error:
            lost = step.reject(source.source, error, f"the partition {partition}")
            yield Candidate(lost.episode_id, lost.source_uri, lost.source_index, _unreachable), lost
            return
        decision = decide(ordinal, candidate)
        if isinstance(decision, Reject):
            yield candidate, decision
        elif decision:
            step = Step.with_candidate(ordinal, "read", candidate)
            on_step(step)
            yield candidate, _load(source, candidate, step)
        last = candidate


def _load(source: Source, candidate: Candidate, step: Step) -> Outcome:
    try:
        return candidate.load()
    except Filtered as reason:
        return reason
    except (Exception, SystemExit) as error:  # a library made for programs may exit from them
        return step.reject(source.source, error)


def _unreachable() -> Episode:
    raise LookupError("the candidate could not be found")
