"""Batches that are read ahead while the device computes."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

Request = TypeVar("Request")
Item = TypeVar("Item")


class Prefetch(Iterator[Item], Generic[Item]):
    """The batches of `read` for each request, in order; one thread reads ahead while the context is entered.

    An error of the thread is raised in place of its batch.

    Args:
        read: Reads the batch of a request; called by the thread.
        requests: The requests; the thread takes them some batches early.
        depth: How many batches are read ahead.
    """

    def __init__(self, read: Callable[[Request], Item], requests: Iterable[Request], depth: int = 2) -> None:
        self.waited = 0.0
        """Seconds that the consumer has waited for batches."""
        self._room = threading.Semaphore(depth)
        # A batch alone in a list; then an error, or None at the end.
        self._ready: queue.SimpleQueue[list[Item] | BaseException | None] = queue.SimpleQueue()
        self._stopped = False
        self._thread = threading.Thread(
            target=self._read_ahead, args=(read, requests), name="prefetch", daemon=True
        )  # fmt: skip

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = True
        self._room.release()
        self._thread.join()

    def __next__(self) -> Item:
        started = time.perf_counter()
        ready = self._ready.get()
        self.waited += time.perf_counter() - started
        if isinstance(ready, list):
            self._room.release()
            return ready[0]
        self._ready.put(ready)  # every later call ends, too
        if ready is None:
            raise StopIteration
        raise ready

    def _read_ahead(self, read: Callable[[Request], Item], requests: Iterable[Request]) -> None:
        try:
            for request in requests:
                self._room.acquire()
                if self._stopped:
                    return
                self._ready.put([read(request)])
            self._ready.put(None)
        except BaseException as error:
            self._ready.put(error)
