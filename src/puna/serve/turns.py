"""Who is served next: callers take turns, and those who have the least at work come first."""

from collections import Counter, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """Requests that wait, those of each caller in the order in which they came.

    The next one is of the caller with the fewest sequences at work, so that one who asks for a thousand things at once
    holds up nobody else; among equals callers take turns.
    """

    def __init__(self) -> None:
        self._queues: dict[str, deque[T]] = {}
        """Of the callers that wait for something, who was served longest ago first."""
        self._at_work: Counter[str] = Counter()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def of(self, caller: str) -> int:
        """Requests of a caller that wait."""
        return len(self._queues.get(caller, ()))

    def at_work(self, caller: str) -> int:
        """Sequences of a caller that are at work."""
        return self._at_work[caller]

    def add(self, caller: str, item: T) -> None:
        """Put a request behind the caller's others."""
        self._queues.setdefault(caller, deque()).append(item)
        self._length += 1

    def first(self) -> T | None:
        """The request that is next; None if none waits."""
        return self._queues[self._next()][0] if self._queues else None

    def take(self, sequences: int) -> T:
        """Let the request begin that is next; there must be one.

        Args:
            sequences: As many are at work for it from now on, until `done` says so.
        """
        caller = self._next()
        queue = self._queues.pop(caller)
        item = queue.popleft()
        if queue:
            self._queues[caller] = queue  # behind the others
        self._at_work[caller] += sequences
        self._length -= 1
        return item

    def done(self, caller: str, sequences: int) -> None:
        """Some sequences of a caller are not at work any more."""
        self._at_work[caller] -= sequences
        if not self._at_work[caller]:
            del self._at_work[caller]

    def remove(self, caller: str, item: T) -> None:
        """Take a request back that waits."""
        queue = self._queues[caller]
        queue.remove(item)
        if not queue:
            del self._queues[caller]
        self._length -= 1

    def clear(self) -> list[T]:
        """Take all requests back that wait."""
        waiting = [item for queue in self._queues.values() for item in queue]
        self._queues.clear()
        self._length = 0
        return waiting

    def _next(self) -> str:
        return min(self._queues, key=self._at_work.__getitem__)
