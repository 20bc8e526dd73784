"""Recording: an open file or bag, with its topics and their messages in the order of time."""

import abc
import contextlib
import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

from gato_tokenize.storage.remote_file import remote_error

MOST_SAID = 200  # characters of an error of a library, which may repeat a whole definition


class UnfitError(ValueError):
    """Values that no field can be made of, though nothing is damaged."""


Decoder = Callable[[bytes], Any]  # the bytes of a message to a message; see `messages`


class Message(NamedTuple):
    """A message as it was stored. time: nanoseconds, when the recorder received it. `decoder(data)` is its content."""

    topic: str
    time: int
    data: bytes
    decoder: Decoder

    def decoded(self) -> Any:
        """Return the content of the message. Raises ValueError if it cannot be decoded."""
        try:
            return self.decoder(self.data)
        except Exception as error:  # each library raises errors of its own for damaged data
            if isinstance(error, UnfitError):
                raise
            said = f"{type(error).__name__}: {error}".split("\n")[0][:MOST_SAID]
            raise ValueError(f"its message cannot be decoded: {said}") from error


@dataclasses.dataclass(frozen=True)
class Topic:
    """kind: the type of its messages, such as "sensor_msgs/msg/Image". count: how many messages the index states; None
    if it does not say."""

    kind: str
    count: int | None


class Recording(abc.ABC):
    """An open recording. Opening it reads its index alone, and raises ValueError if that is missing or damaged.

    topics: {name: Topic}. start, end: nanoseconds, of the first and the last message. texts: {path: text} that hold for
    the whole recording, with paths such as "metadata/episode/operator".
    """

    topics: Mapping[str, Topic]
    start: int
    end: int
    texts: Mapping[str, str]

    @abc.abstractmethod
    def messages(self, topics: Collection[str], start: int | None = None) -> Iterator[Message]:
        """Iterate over the messages of some topics in the order of time, from `start` on, in constant memory.

        Raises an exception of the format's library at what is damaged.
        """

    @abc.abstractmethod
    def close(self) -> None: ...

    def rate(self, topic: str) -> float:
        """Messages a second of a topic, about; 0 if the index does not say how many there are."""
        seconds = (self.end - self.start) / 1e9
        return max(0, (self.topics[topic].count or 0) - 1) / seconds if seconds > 0 else 0.0


@contextlib.contextmanager
def named(path: str) -> Iterator[None]:
    """Make a ValueError that names the recording of whatever goes wrong with it, but for RemoteError."""
    try:
        yield
    except Exception as error:  # each library raises errors of its own
        if failed := remote_error(error):
            raise failed from None
        plain = isinstance(error, ValueError | OSError) and str(error)
        said = f"{error}" if plain else f"it cannot be read: {type(error).__name__} {error}".strip()
        raise ValueError(said if said.startswith(path) else f"{path}: {said}") from error
