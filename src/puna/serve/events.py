"""Server-sent events: an answer in frames, with signs of life while nothing is written.

A frame is `data: {…}` and an empty line; `: ping` and `: prompt 512 of 4096` are comments, which clients skip. A client
that goes away ends the answer at once: the generator of its frames is closed, and with it the request in the engine. A
client that reads slowly is waited for, so that no more than one frame is made ahead of it.

Source: WHATWG HTML, section 9.2, "Server-sent events".
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any

from pydantic_core import to_json
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from puna.serve.errors import ApiError, internal
from puna.serve.served_model import Progress

DONE = b"data: [DONE]\n\n"
"""The last frame of OpenAI's older interfaces."""
PING = b": ping\n\n"
PING_S = 15.0
"""Seconds of silence before a ping; proxies close connections that are silent for 30 to 60 seconds (nginx's
`proxy_read_timeout` is 60)."""

Frames = AsyncGenerator[bytes]
_log = logging.getLogger("puna.serve")


def data(value: Any, event: str = "") -> bytes:
    """A frame.

    Args:
        value: What JSON can hold.
        event: Its name, for interfaces whose events have names.
    """
    named = f"event: {event}\n".encode() if event else b""
    return named + b"data: " + to_json(value, inf_nan_mode="null") + b"\n\n"


def progress(told: Progress) -> bytes:
    """How far the prompt is read, as a comment."""
    return f": prompt {told.computed} of {told.total}\n\n".encode()


def failure(error: ApiError) -> bytes:
    """An error after the status was sent; OpenAI's clients raise it."""
    return data(error.body)


class EventStream(Response):
    """The answer of a route that streams.

    Args:
        first: What `frames` has told already.
        frames: Made as the client reads them; closed when it goes away.
        failed: Makes the frame of an error that the frames raise.
    """

    media_type = "text/event-stream"

    def __init__(self, first: bytes, frames: Frames, *, failed: Callable[[ApiError], bytes] = failure) -> None:
        # Proxies that wait for whole answers are told not to: nginx's `X-Accel-Buffering`.
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._first, self._frames, self._failed = first, frames, failed
        self._sent = 0.0

    @classmethod
    async def begin(cls, frames: Frames, *, failed: Callable[[ApiError], bytes] = failure) -> "EventStream":
        """The answer once its first frame is made, so that an error before it has a status of its own.

        Args:
            frames: The first is made as soon as the request is taken (`answers.told`).
            failed: As of the class.

        Raises:
            ApiError: The request is refused.
        """
        return cls(await anext(frames), frames, failed=failed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the frames until they end or the client goes away."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        self._sent = time.monotonic()
        tasks = [asyncio.create_task(work) for work in (self._write(send), self._ping(send), left(receive))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._frames.aclose()
        if tasks[0].done() and not tasks[0].cancelled():
            tasks[0].result()
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _write(self, send: Send) -> None:
        try:
            await self._send(send, self._first)
            async for frame in self._frames:
                await self._send(send, frame)
        except ApiError as error:
            await self._send(send, self._failed(error))
        except Exception:
            _log.exception("an answer failed")
            await self._send(send, self._failed(internal()))

    async def _ping(self, send: Send) -> None:
        while True:
            silent = time.monotonic() - self._sent
            if silent >= PING_S:
                await self._send(send, PING)
                silent = 0.0
            await asyncio.sleep(PING_S - silent)

    async def _send(self, send: Send, frame: bytes) -> None:
        self._sent = time.monotonic()
        await send({"type": "http.response.body", "body": frame, "more_body": True})


async def left(receive: Receive) -> None:
    """Return when the client has closed its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
