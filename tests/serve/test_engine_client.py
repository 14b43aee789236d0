"""A model in a process of its own: the engine's promise through the pipe, and what ends, crashes, waits and rests."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from engine_twin import plain_completion, same
from fake_runner import FakeRunner
from light_loaders import Once, Silent
from listening import PATIENCE_S
from serving import FakeLoader, Loop, client_of

from puna.core.errors import GenerateError
from puna.infer.requests import Completion, Event, Request, Sampling
from puna.serve.asked import Asked
from puna.serve.caller import ANYONE, Caller
from puna.serve.engine_client import EngineClient, EngineLimits
from puna.serve.errors import ApiError
from puna.serve.served_model import Progress

Work: TypeAlias = Callable[[EngineClient], Awaitable[None]]
Asking: TypeAlias = Callable[[Work], None]
LONG = FakeLoader({"context": 100_000, "pages": 250_000})
ENDLESS = Request(prompt=(1, 2, 3), max_tokens=90_000)
"""No machine writes so much before a test is over."""


def run(work: Work, loader: Any = LONG, limits: EngineLimits | None = None) -> None:
    """Let a test ask a model of its own."""

    async def all_of_it() -> None:
        async with asyncio.timeout(PATIENCE_S), client_of(loader, limits) as client:
            await work(client)

    asyncio.run(all_of_it())


@pytest.fixture(scope="module")
def ask(loop: Loop) -> Iterator[Asking]:
    """Lets a test ask the model of this module, whose queue has 30 places."""
    client = EngineClient("fake", LONG, EngineLimits(queue=30))
    loop.run(client.start())

    async def work_on(work: Work) -> None:
        await work(client)
        assert (client.running, client.waiting) == (0, 0)

    yield lambda work: loop.run(work_on(work))
    loop.run(client.stop())


async def completions(client: EngineClient, request: Request, caller: Caller = ANYONE) -> list[Completion]:
    """All samples of a request, in their order."""
    events = [event async for event in client.ask(request, caller) if isinstance(event, Event)]
    done = [event.completion for event in events if event.completion is not None]
    return sorted(done, key=lambda completion: completion.sample)


async def begun(client: EngineClient, request: Request = ENDLESS, caller: Caller = ANYONE) -> AsyncGenerator[Any]:
    """A request whose first token is written."""
    events = client.ask(request, caller)
    while not isinstance(await anext(events), Event):
        pass
    return events


def test_answers_are_those_of_whole_passes_alone_and_among_others(ask: Asking) -> None:
    requests = [
        Request(
            prompt=tuple(range(1, 5 + 7 * number)), max_tokens=12, n=1 + number % 3, logprobs=number % 3,
            prompt_logprobs=1 if number == 2 else None, sampling=Sampling(temperature=number % 2, seed=number),
        )
        for number in range(12)
    ]  # fmt: skip

    async def work(client: EngineClient) -> None:
        alone = [await completions(client, request) for request in requests]
        together = await asyncio.gather(*(completions(client, request) for request in requests))
        runner = FakeRunner(vocab_size=client.tokenizer.vocab_size)
        for request, one, other in zip(requests, alone, together, strict=True):
            assert len(one) == len(other) == request.n
            for sample in range(request.n):
                expected = plain_completion(runner.of, request, sample, 1000, client.tokenizer)
                assert same(one[sample], expected)
                assert same(other[sample], expected)

    ask(work)


def test_how_far_a_prompt_is_read_is_told_until_something_is_written(ask: Asking) -> None:
    async def work(client: EngineClient) -> None:
        events = [event async for event in client.ask(Request(prompt=tuple(range(1, 101)), max_tokens=2), ANYONE)]
        read = [event for event in events if isinstance(event, Progress)]
        assert [type(event) for event in events] == [Progress] * len(read) + [Event] * 2
        assert read
        assert all(event.total == 100 and 0 < event.computed < 100 for event in read)
        assert [event.computed for event in read] == sorted(event.computed for event in read)

    ask(work)


def test_what_the_model_cannot_serve_is_refused_before_anything_is_awaited(ask: Asking) -> None:
    async def work(client: EngineClient) -> None:
        with pytest.raises(GenerateError, match="100000 tokens long"):
            client.ask(Request(prompt=(1,) * 100_000, max_tokens=1), ANYONE)
        assert client.waiting == client.running == 0

    ask(work)


def test_prefixes_are_shared_within_a_salt_alone(ask: Asking) -> None:
    async def work(client: EngineClient) -> None:
        request = Request(prompt=tuple(range(1, 90)), max_tokens=1, salt="what a request says of itself")
        cached = [
            (await completions(client, request, Caller(name, salt)))[0].cached_tokens
            for name, salt in (("a", "x"), ("a", "x"), ("b", "y"), ("b", "y"))
        ]
        assert cached[0] == cached[2] == 0
        assert cached[1] == cached[3] >= 80

    ask(work)


def test_a_stream_that_is_closed_is_cancelled_and_its_pages_serve_the_next() -> None:
    loader = FakeLoader({"pages": 64, "context": 256})  # one text of 256 tokens fills all of them

    async def work(client: EngineClient) -> None:
        for number in range(1, 4):
            events = await begun(client, Request(prompt=(number,) * 240, max_tokens=16))
            await events.aclose()
            assert client.running == client.waiting == 0
        (done,) = await completions(client, Request(prompt=(9,) * 240, max_tokens=16))
        assert len(done.tokens) == 16

    run(work, loader)


def test_a_full_queue_refuses_those_who_wait_already_and_nobody_else(ask: Asking) -> None:
    async def work(client: EngineClient) -> None:
        running = [await begun(client) for _ in range(8)]
        waiting = [asyncio.ensure_future(completions(client, ENDLESS)) for _ in range(30)]
        await asyncio.sleep(0)
        assert (client.running, client.waiting) == (8, 30)
        with pytest.raises(ApiError, match="30 requests wait") as caught:
            client.ask(ENDLESS, ANYONE)
        assert (caught.value.status, caught.value.headers) == (429, {"Retry-After": "1"})
        other = asyncio.ensure_future(completions(client, Request(prompt=(5,), max_tokens=1), Caller("other")))
        await asyncio.sleep(0)
        assert client.waiting == 31
        await running[0].aclose()
        assert len((await other)[0].tokens) == 1
        assert client.waiting == 29, "who has less at work goes first"
        for one in (*waiting, *running[1:]):
            one.cancel() if isinstance(one, asyncio.Future) else await one.aclose()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert (client.running, client.waiting) == (0, 0)

    ask(work)


def test_a_caller_whose_texts_do_not_end_leaves_room_for_those_who_come(ask: Asking) -> None:
    async def work(client: EngineClient) -> None:
        busy = Caller("busy")
        running = [await begun(client, ENDLESS, busy) for _ in range(7)]
        more = asyncio.ensure_future(completions(client, ENDLESS, busy))
        await asyncio.sleep(0)
        assert (client.running, client.waiting) == (7, 1), "eight run at once"
        assert len((await completions(client, Request(prompt=(5,), max_tokens=3), Caller("other")))[0].tokens) == 3
        await running[0].aclose()
        assert (client.running, client.waiting) == (7, 0)
        for one in running[1:]:
            await one.aclose()
        more.cancel()
        await asyncio.gather(more, return_exceptions=True)

    ask(work)


def test_more_samples_than_run_at_once_have_the_engine_for_themselves(ask: Asking) -> None:
    async def work(client: EngineClient) -> None:
        many = Request(prompt=(3, 4), max_tokens=5, n=20)
        before = await begun(client)
        asked = asyncio.ensure_future(completions(client, many))
        await asyncio.sleep(0)
        assert client.waiting == 1
        await before.aclose()
        assert len(await asked) == 20

    ask(work)


def test_time_that_is_over_ends_a_request_where_it_is() -> None:
    """With no time at all, whatever the machine does: what begins is told so, and so is what waits."""

    async def work(client: EngineClient) -> None:
        for _ in range(2):
            with pytest.raises(ApiError, match="the request's time is over, 0 s") as caught:
                await completions(client, Request(prompt=(1, 2, 3), max_tokens=200))
            assert (caught.value.status, caught.value.code) == (503, "request_timeout")
        assert client.running == client.waiting == 0

    run(work, Silent(), EngineLimits(request_s=0))


def test_a_text_that_was_written_in_time_is_whole_also_for_who_reads_it_later(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(client: EngineClient) -> None:
        taken: list[Asked] = []
        put = client._put
        monkeypatch.setattr(client, "_put", lambda asked: (taken.append(asked), put(asked)))
        events = await begun(client, Request(prompt=(1, 2), max_tokens=5))
        while client.running:
            await asyncio.sleep(0.01)
        client._expire(taken[0])
        *_, last = [event async for event in events]
        assert last.completion.finish == "length"

    run(work)


def test_a_process_that_is_killed_takes_its_requests_along_and_is_replaced() -> None:
    async def work(client: EngineClient) -> None:
        running = [await begun(client) for _ in range(8)]
        waiting = asyncio.ensure_future(completions(client, Request(prompt=(7, 8), max_tokens=3)))
        await asyncio.sleep(0)
        before = client.pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        for events in running:
            with pytest.raises(ApiError, match="the process that computes this model ended") as caught:
                async for _ in events:
                    pass
            assert caught.value.status == 500
        assert len((await waiting)[0].tokens) == 3, "what waited is computed by the next process"
        assert client.state == "ready"
        assert client.pid != before

    run(work)


def test_a_model_that_cannot_be_loaded_again_says_so_without_its_path_and_comes_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model"
    path.touch()

    async def work(client: EngineClient) -> None:
        running = await begun(client)
        path.unlink()
        os.kill(client.pid or 0, signal.SIGKILL)
        with pytest.raises(ApiError):
            async for _ in running:  # some may have been written before
                pass
        waiting = asyncio.ensure_future(completions(client, ENDLESS))
        with pytest.raises(ApiError, match="cannot be loaded") as caught:
            await waiting
        assert caught.value.status == 503
        assert str(path) not in caught.value.message
        with pytest.raises(ApiError, match="cannot be loaded"):
            client.ask(ENDLESS, ANYONE)
        assert client.state == "failed"
        path.touch()
        while client.state != "ready":
            await asyncio.sleep(0.01)
        assert len((await completions(client, Request(prompt=(1,), max_tokens=2)))[0].tokens) == 2

    run(work, Once(path))
    said = capsys.readouterr().err
    assert f"{path}: no such file" in said.replace("\n", "")
    assert "ended by SIGKILL" in said


def test_without_requests_the_process_ends_and_the_next_request_starts_another() -> None:
    async def work(client: EngineClient) -> None:
        before = client.pid
        (first,) = await completions(client, Request(prompt=(1, 2), max_tokens=5))
        while client.state != "unloaded":
            await asyncio.sleep(0.01)
        assert client.pid is None
        with pytest.raises(ProcessLookupError):
            os.kill(before or 0, 0)
        assert client.longest == 100_000
        (again,) = await completions(client, Request(prompt=(1, 2), max_tokens=5))
        assert same(again, first)
        assert client.pid != before

    run(work, limits=EngineLimits(unload_s=0.0))


def test_a_server_that_stops_finishes_what_it_took_and_takes_no_more() -> None:
    async def work(client: EngineClient) -> None:
        request = Request(prompt=(1, 2), max_tokens=200)
        running = [asyncio.ensure_future(completions(client, request)) for _ in range(10)]
        await asyncio.sleep(0)
        stopping = asyncio.ensure_future(client.stop(grace_s=600))
        await asyncio.sleep(0)
        with pytest.raises(ApiError, match="the server stops") as caught:
            client.ask(ENDLESS, ANYONE)
        assert caught.value.status == 503
        assert [len(done.tokens) for (done,) in await asyncio.gather(*running)] == [200] * 10
        await stopping
        assert (client.state, client.pid) == ("stopped", None)

    run(work)


def test_what_is_not_done_when_a_server_stops_at_once_ends_with_an_error() -> None:
    async def work(client: EngineClient) -> None:
        running = [await begun(client) for _ in range(8)]
        waiting = asyncio.ensure_future(completions(client, ENDLESS))
        await asyncio.sleep(0)
        await client.stop()
        for events in running:
            with pytest.raises(ApiError, match="the server stops"):
                async for _ in events:
                    pass
        with pytest.raises(ApiError, match="the server stops"):
            await waiting

    run(work)
