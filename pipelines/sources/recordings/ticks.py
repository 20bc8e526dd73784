"""Ticks: the timesteps of a recording, and the last message of each topic at or before each of them."""

import dataclasses
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from pipelines.sources.recordings.recording import Message

SECOND = 10**9  # nanoseconds


@dataclasses.dataclass(frozen=True)
class Tick:
    """A timestep at `time`, in nanoseconds. latest: {topic: its last message at or before that time}."""

    time: int
    latest: Mapping[str, Message]


class Ticks:
    """Makes the timesteps of a recording from its messages, which come in the order of time.

    topics: those that are needed: the first timestep is that at which each has had a message. clocks: those among them
    with whose last message the episode ends. fps: timesteps a second; 0: one at each message of the first clock.
    counts: {topic: its number of messages as the index states it, or None}.

    After the last timestep `waited` is the number of messages of the first clock that came before the first timestep.

    >>> come = [("a", 0), ("b", 1), ("b", 2), ("a", 2), ("a", 5), ("b", 9)]
    >>> messages = [Message(topic, time, b"", lambda data: data) for topic, time in come]
    >>> ticks = Ticks({"a", "b"}, ["a"])
    >>> [(tick.time, tick.latest["a"].time, tick.latest["b"].time) for tick in ticks.of(messages)]
    [(2, 2, 2), (5, 5, 2)]
    >>> ticks.waited
    1
    """

    def __init__(
        self,
        topics: Collection[str],
        clocks: Sequence[str],
        fps: float = 0.0,
        counts: Mapping[str, int | None] | None = None,
    ) -> None:
        self._clocks, self._fps, self._counts = clocks, fps, dict(counts or {})
        self._come = dict.fromkeys(topics, 0)  # messages of each topic
        self._latest: dict[str, Message] = {}
        self._first = -1  # nanoseconds, of the first timestep; -1 before it is known
        self._number = 0  # of timesteps
        self.waited = 0

    def of(self, messages: Iterable[Message]) -> Iterator[Tick]:
        """Yield the timesteps. Only the last message of each topic is kept meanwhile.

        Raises ValueError if a needed topic has no message, or another number than the index states; if the messages are
        not in order; and if there is no timestep.
        """
        before, end = -1, -1  # nanoseconds; `end` is that of the last timestep if it is known
        for time, together in itertools.groupby(messages, lambda message: message.time):
            if time < before:
                raise ValueError(
                    f"a message of {time} ns follows one of {before} ns: they are not in the order of time and have no"
                    " index; MCAP's command line tool sorts them: mcap sort FILE -o NEW"
                )
            before = time
            if end >= 0:  # the rest is counted alone
                for message in together:
                    self._come[message.topic] += 1
                continue
            yield from self._due(time - 1)
            is_clock = self._take(together)
            if len(self._latest) == len(self._come):
                self._first = time if self._first < 0 else self._first
                if is_clock and not self._fps:
                    self._number += 1
                    yield Tick(time, dict(self._latest))
            if all(self._come[topic] == self._counts.get(topic) for topic in self._clocks):
                end = time
        self._check()
        yield from self._due(end if end >= 0 else before)
        if not self._number:
            raise ValueError(f"no message of {self._clocks[0]} came after each of the other topics had one")

    def _take(self, messages: Iterable[Message]) -> bool:
        """Take messages of one time; return whether one of the first clock is among them."""
        count = self._come[self._clocks[0]]
        for message in messages:
            self._latest[message.topic] = message
            self._come[message.topic] += 1
        new = self._come[self._clocks[0]] - count
        self.waited += new if len(self._latest) < len(self._come) else 0
        return new > 0

    def _due(self, until: int) -> Iterator[Tick]:
        """Yield the timesteps at the chosen rate up to a time, of those that were not yielded."""
        while self._fps and 0 <= self._first <= until:
            time = self._first + round(self._number * SECOND / self._fps)
            if time > until:
                return
            self._number += 1
            yield Tick(time, dict(self._latest))

    def _check(self) -> None:
        for topic, come in self._come.items():
            stated = self._counts.get(topic)
            if not come:
                raise ValueError(f"{topic}: has no message")
            if stated is not None and come != stated:
                raise ValueError(f"{topic}: has {come} messages, and the index states {stated}")
