import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from puna.core.errors import DataError
from puna.shards.loader import Loader
from puna.shards.prefetch import Prefetch

REQUESTS = [(first, 3) for first in range(0, 60, 3)] + [(7, 1), (1000, 12)]


@pytest.fixture
def loader(write_tokens, mixed) -> Loader:
    shards = {"prose": write_tokens([list(range(10, 900))], shard_tokens=200)}
    return Loader(shards, mixed({"prose": 1.0}))


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name == "prefetch"] == []


@pytest.mark.parametrize("depth", [1, 2, 50])
def test_batches_are_the_loaders_in_the_order_of_the_requests(loader: Loader, depth: int):
    with Prefetch(lambda wanted: loader.batch(*wanted), REQUESTS, depth) as batches:
        read = list(batches)
        assert list(batches) == []  # the end stays the end
    assert len(read) == len(REQUESTS)
    for batch, request in zip(read, REQUESTS, strict=True):
        assert np.array_equal(batch, loader.batch(*request))


def test_depth_batches_are_read_ahead_and_no_more(loader: Loader):
    asked: list[int] = []

    def requests() -> Iterator[tuple[int, int]]:
        for number in range(100):
            asked.append(number)
            yield number, 1

    with Prefetch(lambda wanted: loader.batch(*wanted), requests(), depth=3) as batches:
        for taken in range(1, 6):
            next(batches)
            deadline = time.monotonic() + 10
            while len(asked) < taken + 4 and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(0.01)
            assert len(asked) == taken + 4  # three are ready and the next one waits for its turn


def test_leaving_early_stops_the_thread(loader: Loader):
    def interrupted() -> None:
        with Prefetch(lambda wanted: loader.batch(*wanted), ((number, 1) for number in range(10**9))) as batches:
            next(batches)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()


def test_entering_and_leaving_reads_nothing_more(loader: Loader):
    with Prefetch(lambda wanted: loader.batch(*wanted), iter([])):
        pass


def test_an_error_is_raised_where_its_batch_would_have_come(loader: Loader, monkeypatch: pytest.MonkeyPatch):
    batch = loader.batch

    def failing(first: int, count: int):
        if first == 2:
            raise DataError("the disk is gone")
        return batch(first, count)

    monkeypatch.setattr(loader, "batch", failing)
    with Prefetch(lambda wanted: loader.batch(*wanted), [(number, 1) for number in range(5)]) as batches:
        assert np.array_equal(next(batches), batch(0, 1))
        assert np.array_equal(next(batches), batch(1, 1))
        for _ in range(2):
            with pytest.raises(DataError, match="the disk is gone"):
                next(batches)


def test_an_error_of_the_requests_is_raised_too(loader: Loader):
    def requests() -> Iterator[tuple[int, int]]:
        yield 0, 1
        raise ValueError("no more")

    with Prefetch(lambda wanted: loader.batch(*wanted), requests()) as batches:
        next(batches)
        with pytest.raises(ValueError, match="no more"):
            next(batches)


def test_waiting_is_counted_and_reading_behind_the_work_is_not(loader: Loader, monkeypatch: pytest.MonkeyPatch):
    batch = loader.batch

    def slow(first: int, count: int):
        time.sleep(0.05)
        return batch(first, count)

    monkeypatch.setattr(loader, "batch", slow)
    with Prefetch(lambda wanted: loader.batch(*wanted), [(number, 1) for number in range(6)]) as batches:
        next(batches)
        assert batches.waited > 0.03
        started = time.perf_counter()
        for _ in batches:
            time.sleep(0.1)
        # Each of the other five was ready while the one before was worked on.
        assert batches.waited < 0.05 + 0.5 * (time.perf_counter() - started)
        waited = batches.waited
    assert waited > 0.03
