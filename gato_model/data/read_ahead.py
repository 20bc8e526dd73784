"""Reading on other threads: an endless sequence whose next items are made ahead, and a `map` over several threads."""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


class ReadAhead(Generic[Item]):
    """An iterator over make(start), make(start + 1), ...; at most `prefetch` items wait, and one is being made.

    An exception of `make` is raised by `next` and ends the iterator. `close` stops the thread and waits for it.

    >>> with ReadAhead(lambda number: number * number, start=3, prefetch=2) as squares:
    ...     next(squares), next(squares)
    (9, 16)
    """

    def __init__(self, make: Callable[[int], Item], start: int = 0, prefetch: int = 2) -> None:
        self._stop = threading.Event()
        if prefetch < 1 or start < 0:
            raise ValueError(f"prefetch must be at least 1 and start at least 0, not {prefetch} and {start}")
        self._items: queue.Queue[Item | _Failure] = queue.Queue(prefetch)
        arguments = (make, start, self._items, self._stop)
        self._thread = threading.Thread(target=_work, args=arguments, name="read-ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> "ReadAhead[Item]":
        return self

    def __next__(self) -> Item:
        while not self._stop.is_set():
            with contextlib.suppress(queue.Empty):  # another thread may have closed it: look again
                item = self._items.get(timeout=0.1)
                if isinstance(item, _Failure):
                    self._stop.set()
                    raise item.error
                return item
        raise StopIteration

    def __enter__(self) -> "ReadAhead[Item]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the thread; `next` then raises StopIteration."""
        self._stop.set()
        with contextlib.suppress(queue.Empty):
            while True:
                self._items.get_nowait()  # the thread may be waiting for room
        self._thread.join()

    def __del__(self) -> None:
        self._stop.set()


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def _work(
    make: Callable[[int], Item],
    number: int,
    items: "queue.Queue[Item | _Failure]",
    stop: threading.Event,
) -> None:
    while not stop.is_set():
        item: Item | _Failure
        try:
            item = make(number)
        except BaseException as error:
            item = _Failure(error)
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                items.put(item, timeout=0.1)
                break
        if isinstance(item, _Failure):
            return
        number += 1


@contextlib.contextmanager
def mapped(threads: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """Give a `map` that runs on so many threads, which end with the block; what is not begun by then is let go."""
    if threads == 1:
        yield map
        return
    with ThreadPoolExecutor(threads, "read-records") as pool:
        try:
            yield pool.map
        finally:
            pool.shutdown(cancel_futures=True)
