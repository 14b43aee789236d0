"""What comes of a request waits for who reads it, in order, and an error comes behind it."""

import asyncio

import pytest

from puna.infer.requests import Completion, Event, Request, Token
from puna.serve.asked import Asked
from puna.serve.errors import ApiError
from puna.serve.served_model import Progress


def asked() -> Asked:
    return Asked(0, Request(prompt=(1, 2), max_tokens=3), "anyone")


def test_events_are_read_in_order_and_the_error_behind_them() -> None:
    async def work() -> None:
        one = asked()
        one.tell((0, 0, (5, None, ()), "a", None))
        one.fail(ApiError(500, "gone"))
        assert await one.next() == Event(request=0, sample=0, token=Token(id=5), text="a")
        with pytest.raises(ApiError, match="gone"):
            await one.next()

    asyncio.run(work())


def test_of_progress_that_nobody_fetched_the_last_is_kept() -> None:
    async def work() -> None:
        one = asked()
        for computed in (1, 2, 3):
            one.progress(Progress(computed, 4))
        assert await one.next() == Progress(3, 4)
        one.progress(Progress(4, 4))
        one.tell((0, 0, (5, None, ()), "a", None))
        assert await one.next() == Progress(4, 4)
        assert isinstance(await one.next(), Event)

    asyncio.run(work())


def test_who_waits_is_woken_by_news_and_by_the_end() -> None:
    async def work() -> None:
        one = asked()
        waiting = asyncio.ensure_future(one.next())
        await asyncio.sleep(0)
        assert not waiting.done()
        end = Completion(
            request=0, sample=0, text="", tokens=(), prompt=(), finish="length", stop=None, prompt_tokens=2,
            cached_tokens=0,
        )  # fmt: skip
        one.tell((0, 0, None, "", (end, [], [])))
        event = await waiting
        assert isinstance(event, Event)
        assert event.completion is not None
        one.over = True
        assert await one.next() is None

    asyncio.run(work())
