"""Batches that are read ahead while the device computes."""

import queue
import threading
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from puna.shards.loader import Loader


class Prefetch(Iterator[NDArray[np.int64]]):
    """What `loader.batch` gives for each request, in order; one thread reads ahead while it is entered.

    An error of the thread is raised where its batch would have come.

    Args:
        loader: Where batches come from.
        requests: First sequence and count of each batch; asked for by the thread, some batches early.
        depth: Batches that are read before they are asked for.
    """

    def __init__(self, loader: Loader, requests: Iterable[tuple[int, int]], depth: int = 2) -> None:
        self.waited = 0.0
        """Seconds that the consumer has waited for batches."""
        self._loader, self._requests = loader, requests
        self._room = threading.Semaphore(depth)
        self._ready: queue.SimpleQueue[NDArray[np.int64] | BaseException | None] = queue.SimpleQueue()
        self._stopped = False
        self._thread = threading.Thread(target=self._read_ahead, name="prefetch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = True
        self._room.release()
        self._thread.join()

    def __next__(self) -> NDArray[np.int64]:
        started = time.perf_counter()
        item = self._ready.get()
        self.waited += time.perf_counter() - started
        if isinstance(item, np.ndarray):
            self._room.release()
            return item
        self._ready.put(item)  # the end stays the end
        if item is None:
            raise StopIteration
        raise item

    def _read_ahead(self) -> None:
        try:
            for first, count in self._requests:
                self._room.acquire()
                if self._stopped:
                    return
                self._ready.put(self._loader.batch(first, count))
            self._ready.put(None)
        except BaseException as error:
            self._ready.put(error)
