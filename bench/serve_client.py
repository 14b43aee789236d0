"""A client of `/v1/completions` that costs little and the same whatever server it asks: for bench/serve.py.

It writes a request as bytes and notes when bytes come back; nothing is parsed until the answer is whole. Each request
has a connection of its own, as from a browser's tab. The times of a load are those of a closed loop: so many clients,
each of which asks for the next text as soon as it has the last one.
"""

import asyncio
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

_DONE = b"data: [DONE]"
_PATIENCE_S = 300
"""A server that is silent for so long has failed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What one request took."""

    first_seconds: float
    """From the first byte of the connection until the first event."""
    seconds: float
    """Until the last one."""
    tokens: int
    """That were written, as the server counts them."""
    text: str
    """What was written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What all requests of a closed loop took."""

    seconds: float
    """From the first request to the end of the last answer."""
    tokens: int
    """That were written in this time."""
    first_seconds: list[float] = field(repr=False)
    """Of every request in their order."""
    texts: list[str] = field(repr=False, default_factory=list)


class _Exchange(asyncio.Protocol):
    """One request on a connection of its own."""

    def __init__(self, head_and_body: bytes, done: asyncio.Future[None]) -> None:
        self._sent, self._done = head_and_body, done
        self.received = bytearray()
        self.began = time.perf_counter()
        self.first = self.last = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._sent)

    def data_received(self, data: bytes) -> None:
        self.last = time.perf_counter()
        self.received += data
        if not self.first and b"\ndata: " in self.received:
            self.first = self.last
        if self.received.find(_DONE, max(0, len(self.received) - len(data) - len(_DONE))) >= 0:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)


async def ask(url: str, fields: dict[str, Any]) -> Answer:
    """One streamed completion.

    Args:
        url: The server's, with host and port.
        fields: Of the request, without those about streaming.

    Raises:
        RuntimeError: The server answered with an error, or not to the end.
    """
    place = urlsplit(url)
    body = json.dumps(fields | {"stream": True, "stream_options": {"include_usage": True}}).encode()
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode()
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    exchange = _Exchange(head + body, done)
    await loop.create_connection(lambda: exchange, place.hostname, place.port)
    async with asyncio.timeout(_PATIENCE_S):
        await done
    received = bytes(exchange.received)
    if b" 200 " not in received[:16] or _DONE not in received:
        raise RuntimeError(f"{url} answered: {received[:2000].decode(errors='replace')}")
    events = [json.loads(data) for data in _events(received)]
    usage = next(event["usage"] for event in reversed(events) if event.get("usage"))
    return Answer(
        first_seconds=exchange.first - exchange.began, seconds=exchange.last - exchange.began,
        tokens=usage["completion_tokens"],
        text="".join(choice.get("text") or "" for event in events for choice in event.get("choices", ())),
    )  # fmt: skip


def _events(received: bytes) -> Iterable[bytes]:
    """The data of the stream's events, but for the last; the lengths of HTTP's chunks stand on lines between them."""
    for line in received.splitlines():
        if line.startswith(b"data: {"):
            yield line[len(b"data: ") :]


async def closed_loop(url: str, requests: list[dict[str, Any]], clients: int) -> Load:
    """All requests, by so many clients at once.

    Args:
        url: The server's.
        requests: Fields of each, in the order in which clients take them.
        clients: At most one for each request.

    Raises:
        RuntimeError: As of `ask`.
    """
    answers: list[Answer | None] = [None] * len(requests)
    left = iter(enumerate(requests))

    async def client() -> None:
        for place, fields in left:
            answers[place] = await ask(url, fields)

    began = time.perf_counter()
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(client())
    except ExceptionGroup as several:
        raise several.exceptions[0] from None
    seconds = time.perf_counter() - began
    whole = [answer for answer in answers if answer is not None]
    return Load(
        seconds=seconds, tokens=sum(answer.tokens for answer in whole),
        first_seconds=[answer.first_seconds for answer in whole], texts=[answer.text for answer in whole],
    )  # fmt: skip
