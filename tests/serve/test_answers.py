"""What every route that lets a model write shares: order, refusals, failures and clients that go away."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fastapi import Request as HttpRequest
from in_process import InProcessModel
from small_served import small_model

from puna.infer.requests import Completion, Event, Request, Sampling
from puna.serve.answers import TOGETHER, completions, finish_reason, told, unless_left, whole
from puna.serve.caller import ANYONE, Caller
from puna.serve.errors import ApiError
from puna.serve.served_model import Progress
from puna.tokenizer.tokenizer import Tokenizer


def requests(count: int, n: int = 1) -> list[Request]:
    return [Request(prompt=(1, 5 + place), max_tokens=6, n=n, sampling=Sampling(seed=place)) for place in range(count)]


def run(work: Callable[[], Awaitable[Any]]) -> Any:
    async def awaited() -> Any:
        return await work()

    return asyncio.run(awaited())


@pytest.mark.parametrize("count", [1, 2, TOGETHER + 9])
def test_many_prompts_are_answered_as_each_alone_and_in_their_order(tokenizer: Tokenizer, count: int) -> None:
    together = run(lambda: completions(small_model(tokenizer), requests(count, n=2), ANYONE))
    assert [(one.request, one.sample) for one in together] == [(at, n) for at in range(count) for n in range(2)]
    engine = small_model(tokenizer).engine
    alone = [one for request in requests(count, n=2) for one in engine.generate([request])]
    assert [one.text for one in together] == [one.text for one in alone]


def test_events_of_several_prompts_make_their_texts(tokenizer: Tokenizer) -> None:
    async def work() -> tuple[dict[tuple[int, int], str], list[Completion], int]:
        texts: dict[tuple[int, int], str] = {}
        done, read = [], 0
        async for event in told(small_model(tokenizer), requests(3, n=2), Caller("me", "salt")):
            if isinstance(event, Progress):
                read += 1
                continue
            texts[event.request, event.sample] = texts.get((event.request, event.sample), "") + event.text
            if event.completion:
                done.append(event.completion)
        return texts, done, read

    texts, done, read = run(work)
    assert {(one.request, one.sample): one.text for one in done} == texts
    assert len(done) == 6
    assert read == 3


def test_the_caller_is_passed_on(tokenizer: Tokenizer) -> None:
    model = small_model(tokenizer)
    me = Caller("me", "salt")
    run(lambda: completions(model, requests(2), me))
    assert model.callers == [me, me]


def test_what_the_model_cannot_serve_is_refused_before_anything_is_asked(tokenizer: Tokenizer) -> None:
    model = small_model(tokenizer)
    long = Request(prompt=(5,) * 64, max_tokens=1)
    with pytest.raises(ApiError, match="64 tokens long") as caught:
        run(lambda: completions(model, [*requests(3), long], ANYONE))
    assert (caught.value.status, caught.value.code) == (400, "context_length_exceeded")
    assert model.callers == []
    with pytest.raises(ApiError, match="vocabulary") as caught:
        run(lambda: completions(model, [Request(prompt=(600,), max_tokens=1)], ANYONE))
    assert (caught.value.status, caught.value.code) == (400, None)


class Failing(InProcessModel):
    """Fails in the third request."""

    async def ask(self, request: Request, caller: Caller):  # type: ignore[no-untyped-def]
        if request.prompt[1] == 7:
            raise ApiError(500, "the model's process has ended")
        async for event in super().ask(request, caller):
            yield event


def test_a_failure_in_one_cancels_the_others(tokenizer: Tokenizer) -> None:
    inner = small_model(tokenizer)
    model = Failing("failing", inner.engine, tokenizer)
    with pytest.raises(ApiError, match="process has ended"):
        run(lambda: completions(model, requests(5), ANYONE))
    assert model.cancelled == 4
    assert not [event for event in model.engine.step() if event.token]  # their ends alone are left to tell


def test_a_reader_that_stops_cancels_what_is_not_done(tokenizer: Tokenizer) -> None:
    model = small_model(tokenizer)

    async def work() -> None:
        events = told(model, requests(5), ANYONE)
        async for event in events:
            if isinstance(event, Event):
                break
        await events.aclose()

    run(work)
    assert model.cancelled == 5


@pytest.mark.parametrize(("finish", "status"), [("error", 500), ("cancelled", 503)])
def test_a_text_that_fails_is_an_error(tokenizer: Tokenizer, finish: Any, status: int) -> None:
    class Ends(InProcessModel):
        async def ask(self, request: Request, caller: Caller):  # type: ignore[no-untyped-def]
            done = Completion(
                request=0, sample=0, text="", tokens=(), prompt=(), finish=finish, stop=None, prompt_tokens=2,
                cached_tokens=0,
            )  # fmt: skip
            yield Event(request=0, sample=0, token=None, text="", completion=done)

    inner = small_model(tokenizer)
    with pytest.raises(ApiError) as caught:
        run(lambda: completions(Ends("ends", inner.engine, tokenizer), requests(1), ANYONE))
    assert caught.value.status == status


def test_an_answer_is_given_up_when_the_client_goes_away(tokenizer: Tokenizer) -> None:
    model = small_model(tokenizer)

    async def work() -> None:
        leaves = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await leaves.wait()
            return {"type": "http.disconnect"}

        http = HttpRequest({"type": "http", "headers": []}, receive)
        long = [Request(prompt=(1, 5), max_tokens=60)]
        answering = asyncio.create_task(unless_left(http, completions(model, long, ANYONE)))
        while not model.callers:
            await asyncio.sleep(0)
        leaves.set()
        with pytest.raises(ApiError, match="closed its connection"):
            await answering

    run(work)
    assert model.cancelled == 1


def test_numbers_are_written_to_the_last_digit() -> None:
    assert whole({"logprob": -0.1 - 0.2}).body == b'{"logprob":-0.30000000000000004}'
    assert whole({"logprob": float("-inf")}).body == b'{"logprob":null}'


def test_reasons_of_an_end_are_those_of_openai() -> None:
    assert [finish_reason(one) for one in ("stop", "length")] == ["stop", "length"]
