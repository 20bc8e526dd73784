"""A source that goes wrong in the process that reads it: `faulty:20?bad=3,7&fault=segfault&at=read&each=10`.

It has the documents 0 .. 19, `each` of them in a partition. Loading one takes `pause` seconds, unless there is a file
`hurry`, and adds a line to the file `loaded`. The fault happens at those that `bad` names, unless there is a file
`mended`.
"""

import ctypes
import dataclasses
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any, Literal

from gato_tokenize import Episode, EpisodeMetadata, EpisodeSpec
from pipelines.sources.options import SourceOptions, option, parse_options
from pipelines.sources.source import Candidate, Source

BIG = 3 * 2**30


def _eat() -> None:
    """Take three gigabytes at once, or, if nothing limits them, do what the kernel does when there are no more."""
    block = bytearray(BIG)
    os.kill(os.getpid(), signal.SIGKILL)
    del block


FAULTS = {
    "segfault": lambda: ctypes.string_at(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "hang": lambda: ctypes.PyDLL(None).sleep(1000),  # in native code that keeps the interpreter's lock
    "exit": lambda: os._exit(3),
    "leave": lambda: sys.exit(4),
    "eat": _eat,
    "raise": lambda: {}["lost"],
}


@dataclasses.dataclass(frozen=True)
class FaultyOptions(SourceOptions):
    bad: str = option("", "the numbers of documents at which the fault happens")
    fault: str = option("segfault", "one of FAULTS")
    at: Literal["next", "read", "tokenize"] = option("read", "the step at which it happens; tokenize: its own fault")
    each: int = option(10, "documents in a partition")
    knows: int = option(1, "1: a partition says its count")
    pause: float = option(0.0, "seconds between documents")


class FaultySource(Source):
    Options = FaultyOptions

    def __init__(self, argument: str, options: dict[str, str]) -> None:
        self.options = parse_options(FaultyOptions, options)
        self._count = int(argument)
        self._bad = {int(number) for number in self.options.bad.split(",") if number}

    def specs(self) -> dict[str, EpisodeSpec]:
        return {"toy": EpisodeSpec.document()}

    def inputs(self) -> list[dict[str, Any]]:
        return [{"uri": "faulty", "versions": {}}]

    def partitions(self) -> list[dict[str, Any]]:
        name = "count" if self.options.knows else "number"
        each = self.options.each
        return [{"first": first, name: min(each, self._count - first)} for first in range(0, self._count, each)]

    def candidates(self, partition: dict[str, Any]) -> Iterator[Candidate]:
        count = partition.get("count", partition.get("number"))
        for number in range(partition["first"], partition["first"] + count):
            self._step("next", number)
            yield Candidate(f"toy/{number}", "faulty", number, lambda number=number: self._load(number))

    def _load(self, number: int) -> Episode:
        with open("loaded", "a") as file:
            file.write(f"{number}\n")
        time.sleep(0 if os.path.exists("hurry") else self.options.pause)
        self._step("read", number)
        metadata = EpisodeMetadata(f"toy/{number}", "toy", "toy", source_uri="faulty", source_index=number)
        lone = "\ud800" if self.options.at == "tokenize" and number in self._bad else ""
        return Episode(self.specs()["toy"], {"text": [f"document {number}{lone}"]}, metadata=metadata)

    def _step(self, at: str, number: int) -> None:
        if number in self._bad and at == self.options.at and not os.path.exists("mended"):
            FAULTS[self.options.fault]()
