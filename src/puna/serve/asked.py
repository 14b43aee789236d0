"""One request on its way: what came of it, and who waits for more."""

import asyncio
from collections import deque

from puna.infer.requests import Event, Request
from puna.serve import wire
from puna.serve.errors import ApiError
from puna.serve.served_model import Progress


class Asked:
    """A request that was taken.

    Args:
        number: What the server and the model's process call it.
        request: The request.
        caller: The name of who sent it.
    """

    def __init__(self, number: int, request: Request, caller: str) -> None:
        self.number, self.request, self.caller = number, request, caller
        self.left = request.n
        """Samples that have not ended."""
        self.over = False
        """Whether neither queue nor engine has it any more."""
        self._joined = wire.Joined(request.n)
        self._inbox: deque[Event | Progress] = deque()
        """What nobody has fetched yet: no more than the request may write."""
        self._news = asyncio.Event()
        self._error: ApiError | None = None

    def tell(self, told: wire.SlimEvent) -> None:
        """Something was written."""
        self._inbox.append(self._joined.event(told))
        self._news.set()

    def progress(self, progress: Progress) -> None:
        """A part of the prompt is read; who has not fetched the last of these gets this one alone."""
        if self._inbox and isinstance(self._inbox[-1], Progress):
            self._inbox.pop()
        self._inbox.append(progress)
        self._news.set()

    def fail(self, error: ApiError) -> None:
        """Nothing more comes, and this is why."""
        self._error = error
        self._news.set()

    async def next(self) -> Event | Progress | None:
        """What comes next; None behind the end of all samples.

        Raises:
            ApiError: Of `fail`, behind what came before.
        """
        while not self._inbox:
            if self._error is not None:
                raise self._error
            if self.over:
                return None
            self._news.clear()
            await self._news.wait()
        return self._inbox.popleft()
