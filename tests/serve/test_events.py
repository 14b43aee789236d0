"""Streams of events: frames in order, errors within, signs of life, and an end when the client goes away."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest

from puna.serve import events
from puna.serve.errors import ApiError
from puna.serve.events import DONE, EventStream, data, progress
from puna.serve.served_model import Progress


class Client:
    """Reads an answer."""

    def __init__(self) -> None:
        self.leaves = asyncio.Event()
        self.sent: list[dict[str, Any]] = []
        self.reads = asyncio.Event()
        """Cleared, it does not read on."""
        self.reads.set()

    async def receive(self) -> dict[str, Any]:
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        await self.reads.wait()
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


async def served_five() -> tuple[Client, list[int], asyncio.Task[None]]:
    """A client that has five messages of a stream without end, a list that tells its closing, and what serves it."""
    client, closed = Client(), list[int]()
    stream = await EventStream.begin(numbers(10**9, closed))
    serving = asyncio.create_task(stream({"type": "http"}, client.receive, client.send))
    while len(client.sent) < 5:
        await asyncio.sleep(0)
    return client, closed, serving


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await work()

    asyncio.run(whole())


async def numbers(count: int, closed: list[int], error: Exception | None = None) -> AsyncGenerator[bytes]:
    """Frames; notes how many were made when it is closed."""
    made = 0
    try:
        while made < count:
            yield data({"n": made})
            made += 1
            await asyncio.sleep(0)
        if error is not None:
            raise error
    finally:
        closed.append(made)


def test_frames_have_the_form_of_the_standard() -> None:
    assert data({"text": "a\nb\u2028ä", "logprob": -0.1}) == 'data: {"text":"a\\nb\u2028ä","logprob":-0.1}\n\n'.encode()
    assert data({}, "response.created") == b"event: response.created\ndata: {}\n\n"
    assert progress(Progress(512, 4096)) == b": prompt 512 of 4096\n\n"
    assert DONE == b"data: [DONE]\n\n"


def test_all_frames_are_sent_in_order() -> None:
    async def work() -> None:
        client, closed = Client(), []
        stream = await EventStream.begin(numbers(3, closed))
        await stream({"type": "http"}, client.receive, client.send)
        assert client.body == data({"n": 0}) + data({"n": 1}) + data({"n": 2})
        assert closed == [3]
        headers = dict(client.sent[0]["headers"])
        assert headers[b"content-type"] == b"text/event-stream; charset=utf-8"
        assert b"content-length" not in headers
        assert client.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}

    run(work)


def test_an_error_before_the_first_frame_has_a_status() -> None:
    async def work() -> None:
        with pytest.raises(ApiError, match="full"):
            await EventStream.begin(numbers(0, [], ApiError(429, "the queue is full")))

    run(work)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ApiError(503, "the server stops"), "the server stops"),
        (RuntimeError("/secret"), "the server failed to answer this request; its log says why"),
    ],
)
def test_an_error_within_is_the_last_frame(error: Exception, told: str) -> None:
    async def work() -> None:
        client = Client()
        stream = await EventStream.begin(numbers(1, [], error))
        await stream({"type": "http"}, client.receive, client.send)
        first, last = client.body.split(b"\n\n")[:2]
        assert first == b'data: {"n":0}'
        assert json.loads(last.removeprefix(b"data: "))["error"]["message"] == told
        assert b"secret" not in client.body

    run(work)


def test_the_frames_are_closed_when_the_client_goes_away() -> None:
    async def work() -> None:
        client, closed, serving = await served_five()
        client.leaves.set()
        await serving
        assert len(closed) == 1
        assert client.sent[-1]["more_body"] is True

    run(work)


def test_the_frames_are_closed_when_a_client_goes_away_that_did_not_read() -> None:
    async def work() -> None:
        client, closed, serving = await served_five()
        client.reads.clear()
        for _ in range(20):
            await asyncio.sleep(0)
        client.leaves.set()
        await serving
        assert len(closed) == 1

    run(work)


def test_the_frames_are_closed_when_the_server_ends_the_answer() -> None:
    async def work() -> None:
        _, closed, serving = await served_five()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert len(closed) == 1

    run(work)


def test_no_frame_is_made_ahead_of_a_client_that_does_not_read() -> None:
    async def work() -> None:
        client, made = Client(), []

        async def frames() -> AsyncGenerator[bytes]:
            for number in range(100):
                made.append(number)
                yield data({"n": number})

        stream = await EventStream.begin(frames())
        serving = asyncio.create_task(stream({"type": "http"}, client.receive, client.send))
        while len(client.sent) < 5:
            await asyncio.sleep(0)
        client.reads.clear()
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(made) <= len(client.sent) + 1
        client.reads.set()
        await serving
        assert len(made) == 100

    run(work)


def test_silence_is_broken_by_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PING_S", 0.005)

    async def work() -> None:
        client = Client()

        async def frames() -> AsyncGenerator[bytes]:
            yield data({})
            while client.body.count(b": ping\n\n") < 3:
                await asyncio.sleep(0.001)

        stream = await EventStream.begin(frames())
        await stream({"type": "http"}, client.receive, client.send)
        assert client.body.startswith(b"data: {}\n\n: ping\n\n")

    run(work)
