import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from puna.core.errors import DataError
from puna.shards import prefetch
from puna.shards.loader import Loader
from puna.shards.prefetch import Prefetch

REQUESTS = [(first, 3) for first in range(0, 60, 3)] + [(7, 1), (1000, 12)]


@pytest.fixture
def loader(write_tokens, mixed) -> Loader:
    shards = {"prose": write_tokens([list(range(10, 900))], shard_tokens=200)}
    return Loader(shards, mixed({"prose": 1.0}))


def reading(loader: Loader) -> Callable[[tuple[int, int]], NDArray[np.int64]]:
    return lambda wanted: loader.batch(*wanted)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name == "prefetch"] == []


@pytest.mark.parametrize("depth", [1, 2, 50])
def test_batches_are_the_loaders_in_the_order_of_the_requests(loader: Loader, depth: int):
    with Prefetch(reading(loader), REQUESTS, depth) as batches:
        read = list(batches)
        assert list(batches) == []  # the end stays the end
    assert len(read) == len(REQUESTS)
    for batch, request in zip(read, REQUESTS, strict=True):
        assert np.array_equal(batch, loader.batch(*request))


class Room(threading.Semaphore):
    """Tells when the thread has found no room for the next batch: everything ahead is ready then."""

    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.full = threading.Event()

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        if not super().acquire(blocking=False):
            self.full.set()
            super().acquire()
        return True

    def wait(self) -> None:
        assert self.full.wait(60), "the thread never came to wait"
        self.full.clear()


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> list[Room]:
    """The room of each `Prefetch` that is made."""
    rooms: list[Room] = []

    def make(value: int) -> Room:
        rooms.append(Room(value))
        return rooms[-1]

    monkeypatch.setattr(prefetch.threading, "Semaphore", make)
    return rooms


@pytest.fixture
def read(loader: Loader, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """First sequences of the batches that were read."""
    firsts: list[int] = []
    batch = loader.batch
    monkeypatch.setattr(loader, "batch", lambda first, count: firsts.append(first) or batch(first, count))
    return firsts


@pytest.mark.parametrize("depth", [1, 3])
def test_depth_batches_are_read_ahead_and_no_more(loader: Loader, room: list[Room], read: list[int], depth: int):
    asked: list[int] = []

    def requests() -> Iterator[tuple[int, int]]:
        for number in range(100):
            asked.append(number)
            yield number, 1

    with Prefetch(reading(loader), requests(), depth=depth) as batches:
        room[0].wait()
        for taken in range(1, 6):
            next(batches)
            room[0].wait()
            assert len(read) == taken + depth
            assert len(asked) == taken + depth + 1  # the next one is known, and waits for its turn


def test_two_batches_are_read_ahead_where_nobody_says_otherwise(loader: Loader, room: list[Room], read: list[int]):
    with Prefetch(reading(loader), ((number, 1) for number in range(100))):
        room[0].wait()
        assert read == [0, 1]


def test_the_thread_has_a_name_and_keeps_no_process_alive(loader: Loader):
    with Prefetch(reading(loader), [(0, 1)]) as batches:
        assert (batches._thread.name, batches._thread.daemon) == ("prefetch", True)
        next(batches)
    assert not batches._thread.is_alive()


def test_leaving_early_stops_the_thread(loader: Loader):
    def interrupted() -> None:
        with Prefetch(reading(loader), ((number, 1) for number in range(10**9))) as batches:
            next(batches)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()


def test_leaving_before_the_first_batch_reads_no_more_than_was_ahead(
    loader: Loader, room: list[Room], read: list[int]
):  # fmt: skip
    with Prefetch(reading(loader), ((number, 1) for number in range(10**9)), depth=2):
        room[0].wait()
    assert read == [0, 1]


def test_nothing_is_read_before_it_is_entered_nor_where_nothing_is_wanted(loader: Loader, read: list[int]):
    batches = Prefetch(reading(loader), [(0, 1)])
    assert threading.active_count() == len([thread for thread in threading.enumerate() if thread.name != "prefetch"])
    assert read == []
    with batches:
        next(batches)
    with Prefetch(reading(loader), iter([])) as nothing:
        assert list(nothing) == []
    assert read == [0]


def test_an_error_is_raised_where_its_batch_would_have_come(loader: Loader, monkeypatch: pytest.MonkeyPatch):
    batch = loader.batch

    def failing(first: int, count: int):
        if first == 2:
            raise DataError("the disk is gone")
        return batch(first, count)

    monkeypatch.setattr(loader, "batch", failing)
    with Prefetch(reading(loader), [(number, 1) for number in range(5)]) as batches:
        assert np.array_equal(next(batches), batch(0, 1))
        assert np.array_equal(next(batches), batch(1, 1))
        for _ in range(2):
            with pytest.raises(DataError, match="the disk is gone"):
                next(batches)


def test_an_error_of_the_requests_is_raised_too(loader: Loader):
    def requests() -> Iterator[tuple[int, int]]:
        yield 0, 1
        raise ValueError("no more")

    with Prefetch(reading(loader), requests()) as batches:
        next(batches)
        with pytest.raises(ValueError, match="no more"):
            next(batches)


def test_waiting_is_counted_and_reading_behind_the_work_is_not(
    loader: Loader, room: list[Room], monkeypatch: pytest.MonkeyPatch
):
    """By a clock of the test's: the first batch takes 5 s to read, the consumer 100 s to work on each one."""
    clock, wanted, batch = [0.0], threading.Event(), loader.batch

    def now() -> float:
        wanted.set()
        return clock[0]

    def slow(first: int, count: int):
        if first == 0:
            assert wanted.wait(60)  # somebody waits by now
            clock[0] += 5
        return batch(first, count)

    monkeypatch.setattr(prefetch, "time", SimpleNamespace(perf_counter=now))
    monkeypatch.setattr(loader, "batch", slow)
    with Prefetch(reading(loader), [(number, 1) for number in range(20)]) as batches:
        assert batches.waited == 0
        next(batches)
        assert batches.waited == 5
        for _ in range(4):
            room[0].wait()
            clock[0] += 100
            next(batches)
        assert batches.waited == 5
