import gc
import threading
import time

import pytest

from gato_model.data.read_ahead import ReadAhead


def threads() -> int:
    return sum(thread.name == "read-ahead" for thread in threading.enumerate())


def wait_until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def test_items_come_in_order() -> None:
    with ReadAhead(lambda number: number * 2, start=5) as items:
        assert [next(items) for _ in range(100)] == [2 * number for number in range(5, 105)]


def test_it_reads_ahead_but_not_far() -> None:
    made = []
    with ReadAhead(lambda number: made.append(number), prefetch=3):
        wait_until(lambda: len(made) == 4)  # three that wait, and one that has no room
        time.sleep(0.3)
        assert made == [0, 1, 2, 3]


def test_an_exception_comes_after_the_items_before_it() -> None:
    def make(number: int) -> int:
        if number == 2:
            raise ZeroDivisionError("two")
        return number

    with ReadAhead(make) as items:
        assert [next(items), next(items)] == [0, 1]
        with pytest.raises(ZeroDivisionError, match="two"):
            next(items)
        with pytest.raises(StopIteration):
            next(items)


def test_closing_stops_the_thread() -> None:
    before = threads()
    items = ReadAhead(lambda number: number)
    assert next(items) == 0 and threads() == before + 1
    items.close()
    items.close()
    assert threads() == before
    with pytest.raises(StopIteration):
        next(items)


def test_a_forgotten_one_stops_too() -> None:
    before = threads()
    items = ReadAhead(lambda number: number)
    next(items)
    del items
    gc.collect()
    wait_until(lambda: threads() == before)


def test_nonsense_is_refused() -> None:
    for options in ({"prefetch": 0}, {"start": -1}):
        with pytest.raises(ValueError, match="prefetch must be at least 1"):
            ReadAhead(lambda number: number, **options)
