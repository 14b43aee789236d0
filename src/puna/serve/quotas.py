"""How many requests a key may have at once and in a minute."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from puna.serve.caller import ANYONE, Caller
from puna.serve.errors import ApiError


class Quotas:
    """Counts of each caller that has a key; who comes without one is bounded by the engine's queue alone.

    Args:
        at_once: Requests that run or wait.
        per_minute: Requests begun in a minute, as a token bucket of that size that fills evenly; None: any number.
        clock: Seconds that never go back.
    """

    def __init__(self, at_once: int, per_minute: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._at_once, self._per_minute, self._clock = at_once, per_minute, clock
        self._running: Counter[str] = Counter()
        self._left: dict[str, tuple[float, float]] = {}
        """Requests that a caller may begin, and when that was so."""

    @contextmanager
    def place(self, caller: Caller) -> Iterator[None]:
        """A request's place, from its headers to its answer's last byte.

        Raises:
            ApiError: 429: the caller has as many as it may, with the seconds after which to try again.
        """
        if caller == ANYONE:
            yield
            return
        name = caller.name
        if self._running[name] >= self._at_once:
            raise ApiError(
                429, f"this key has {self._at_once} requests running or waiting, which is as many as it may have",
                code="rate_limit_exceeded", retry_s=1,
            )  # fmt: skip
        if self._per_minute is not None:
            self._take(name, self._per_minute)
        self._running[name] += 1
        try:
            yield
        finally:
            self._running[name] -= 1

    def _take(self, name: str, per_minute: int) -> None:
        now = self._clock()
        left, when = self._left.get(name, (float(per_minute), now))
        left = min(float(per_minute), left + (now - when) * per_minute / 60)
        if left < 1:
            raise ApiError(
                429, f"this key has begun {per_minute} requests in a minute, which is as many as it may",
                code="rate_limit_exceeded", retry_s=math.ceil((1 - left) * 60 / per_minute),
            )  # fmt: skip
        self._left[name] = (left - 1, now)
