"""The vocabulary: which ids stand for which kind of value (Reed et al. 2022, section 2.1 and appendix B)."""

import dataclasses
import enum
import hashlib
import json
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Kind(enum.IntEnum):
    """The kind of a token, as the `token_kind` bytes of a record hold it."""

    TEXT = 0
    PATCH = 1
    CONTINUOUS = 2
    DISCRETE = 3
    SEPARATOR = 4
    CONTINUOUS_ACTION = 5
    DISCRETE_ACTION = 6


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The id ranges, and the two constants of the companding of continuous values.

    In the paper's layout the ids of discrete values are also the first text ids, as printed: the kind of a token
    says which it is. With `disjoint=True` discrete values have ids of their own after the separator.

    >>> v = Vocabulary()
    >>> v.text, v.discrete, v.continuous, v.separator, v.size
    (range(0, 32000), range(0, 1024), range(32000, 33024), 33024, 33025)
    >>> Vocabulary(disjoint=True).discrete
    range(33025, 34049)

    Raises ValueError if a size is not a positive int, `disjoint` is not a bool, mu or m is not a positive finite
    number, or the ids do not fit int32.
    """

    text_size: int = 32_000
    discrete_size: int = 1024
    continuous_bins: int = 1024
    disjoint: bool = False
    mu: float = 100.0
    m: float = 256.0

    def __post_init__(self) -> None:
        for name in ("text_size", "discrete_size", "continuous_bins"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a positive int, not {value!r}")
        if not isinstance(self.disjoint, bool):  # 1 equals True, but its JSON and hash would differ
            raise ValueError(f"disjoint must be True or False, not {self.disjoint!r}")
        for name in ("mu", "m"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= sys.float_info.max:
                raise ValueError(f"{name} must be a positive finite number, not {value!r}")
            object.__setattr__(self, name, float(value))  # 100 and 100.0 are one vocabulary: one JSON, one hash
        if self.size > 2**31:
            raise ValueError(f"{self.size} ids do not fit int32: make the sizes smaller")
        if not self.disjoint and self.discrete_size > self.text_size:
            raise ValueError(
                f"discrete_size {self.discrete_size} does not fit into the {self.text_size} text ids that the "
                "paper's layout shares with it: set disjoint to true, which gives discrete values ids of their own"
            )

    @property
    def text(self) -> range:
        return range(self.text_size)

    @property
    def continuous(self) -> range:
        return range(self.text_size, self.text_size + self.continuous_bins)

    @property
    def separator(self) -> int:
        return self.text_size + self.continuous_bins

    @property
    def discrete(self) -> range:
        start = self.separator + 1 if self.disjoint else 0
        return range(start, start + self.discrete_size)

    @property
    def size(self) -> int:
        """The number of ids, which is the number of rows of the embedding table."""
        return self.separator + 1 + (self.discrete_size if self.disjoint else 0)

    def describe(self) -> str:
        """The id ranges in one line.

        >>> Vocabulary().describe()
        '33025 ids: text [0, 32000), discrete [0, 1024), continuous [32000, 33024), separator 33024'
        """
        names = ("text", "discrete", "continuous")
        ranges = [f"{name} [{ids.start}, {ids.stop})" for name in names for ids in [getattr(self, name)]]
        return f"{self.size} ids: {', '.join(ranges)}, separator {self.separator}"

    def check(self, ids: NDArray[Any]) -> None:
        """Raise ValueError naming the first of `ids` that is outside [0, size)."""
        if ids.size and (ids.min() < 0 or ids.max() >= self.size):
            at = int(np.flatnonzero((ids.ravel() < 0) | (ids.ravel() >= self.size))[0])
            raise ValueError(f"id {ids.ravel()[at]} at index {at} is outside the vocabulary [0, {self.size})")

    def to_json(self) -> str:
        """Canonical JSON: equal vocabularies give equal text, and whatever changes an id changes the text."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Vocabulary":
        fields = json.loads(text)
        known = {f.name for f in dataclasses.fields(cls)}
        if not isinstance(fields, dict) or set(fields) != known:
            raise ValueError(f"a vocabulary has exactly the keys {sorted(known)}, not {fields!r}")
        return cls(**fields)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()
