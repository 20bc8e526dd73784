"""A local run: the name of its runner, how long it waits, and how much memory a partition may take."""

import dataclasses

LOCAL_RUNNER = "FnApiRunner"
LEAST_MEMORY = 2**30  # bytes of address space, half of which the loaded libraries take


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
