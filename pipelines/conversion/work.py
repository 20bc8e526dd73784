"""Work: a partition as it is planned (`Work`, `Retry`) and as it is done (`Done`, `RestLost`), to and from JSON."""

import dataclasses
from typing import Any, NamedTuple


@dataclasses.dataclass(frozen=True)
class Retry:
    """What is read again of a partition: the episodes that were rejected, and the rest if that was lost."""

    number: int  # of the partition among those of its source, from 0
    only: tuple[tuple[str, int, str], ...]  # (source_uri, source_index, episode_id) of each that was rejected
    from_: int | None  # the ordinal from which on every candidate is read, too; None: no rest was lost

    def to_json(self) -> dict[str, Any]:
        return {"number": self.number, "only": [list(names) for names in self.only], "from": self.from_}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Retry":
        fields = {"from_" if name == "from" else name: value for name, value in data.items()}
        fields["only"] = tuple((uri, index, name) for uri, index, name in fields.get("only", ()))
        return cls(**fields)


@dataclasses.dataclass(frozen=True)
class Work:
    """One unit of a plan: a partition of a source, and what of it is to be converted into one shard a split.

    >>> Work("text:a.txt", {"pieces": 1}, limit=5).to_json()
    {'source': 'text:a.txt', 'partition': {'pieces': 1}, 'limit': 5}
    """

    source: str
    partition: dict[str, Any]  # the source's own JSON
    retry: Retry | None = None  # None: every candidate is read
    carried: bool = False  # its shards are carried over from another version: nothing is read
    limit: int | None = None  # only so many candidates, the first ones, are read

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"the limit of a partition is a count of candidates from 1, not {self.limit}")

    @property
    def most(self) -> int | None:
        """The largest number of episodes that may be read; None if that is unknown before they are read."""
        if self.retry:
            return len(self.retry.only) if self.retry.from_ is None else None
        counts = [count for count in (self.partition.get("count"), self.limit) if isinstance(count, int)]
        return min(counts, default=None)

    def to_json(self) -> dict[str, Any]:
        """Its part of plan.json: what is not set has no key."""
        data: dict[str, Any] = {"source": self.source, "partition": self.partition}
        if self.retry is not None:
            data["retry"] = self.retry.to_json()
        if self.carried:
            data["carried"] = True
        if self.limit is not None:
            data["limit"] = self.limit
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Work":
        """Raises TypeError for a key that is missing or unknown."""
        retry = Retry.from_json(data["retry"]) if data.get("retry") is not None else None
        return cls(**{**data, "retry": retry})


class RestLost(NamedTuple):
    """Where reading ended before the partition did."""

    from_: int  # ordinal of the first candidate that could not be found
    reject: int  # number of the reject that says so, among the partition's rejects


@dataclasses.dataclass(frozen=True)
class Done:
    """What became of one partition: the content of its done-file."""

    plan_sha256: str
    partition: int  # number of the work in its plan
    read: int  # candidates: written + rejected + filtered
    written: int  # episodes
    rejected: dict[str, int]  # {reason: count}
    filtered: dict[str, int]  # {reason: count}
    rest_lost: RestLost | None
    shards: dict[str, dict[str, Any]]  # {split: the shard's entry in the manifest}
    stats: dict[str, dict[str, Any]]  # {split: {task: statistics}}

    @property
    def accounted(self) -> int:
        """The number of candidates whose outcome is known."""
        return self.written + sum(self.rejected.values()) + sum(self.filtered.values())

    def to_json(self) -> dict[str, Any]:
        lost = self.rest_lost and {"from": self.rest_lost.from_, "letter": self.rest_lost.reject}
        return {**{field.name: getattr(self, field.name) for field in dataclasses.fields(self)}, "rest_lost": lost}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Done":
        lost = data["rest_lost"] and RestLost(data["rest_lost"]["from"], data["rest_lost"]["letter"])
        return cls(**{**data, "rest_lost": lost})
