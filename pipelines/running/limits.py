"""A local run: the name of its runner, how long it waits, and how much memory a partition may take."""

import dataclasses
import re

LOCAL_RUNNER = "FnApiRunner"
LEAST_MEMORY = 2**30  # bytes of address space, half of which the loaded libraries take
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class Limits:
    """How long a local run waits for a sign of life, and how much memory a partition may take when it is tried alone.

    stall_timeout: seconds. memory_limit: bytes of address space, at least 1 GiB; None: no limit.
    """

    stall_timeout: float = 600.0
    memory_limit: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.stall_timeout < float("inf"):
            raise ValueError(f"--stall-timeout is a number of seconds from 1, not {self.stall_timeout:g}")
        if self.memory_limit is not None and self.memory_limit < LEAST_MEMORY:
            raise ValueError(f"--memory-limit must be at least 1G, not {self.memory_limit} bytes")


def size_of(text: str) -> int:
    """Return the bytes of a size as a person writes it. Raises ValueError for anything else.

    >>> size_of("2G"), size_of("1.5G"), size_of("3000000000")
    (2147483648, 1610612736, 3000000000)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)", text)
    if not found:
        raise ValueError(f"a size is written like 2G or 1500M, not {text!r}")
    return int(float(found[1]) * _UNITS[found[2]])
