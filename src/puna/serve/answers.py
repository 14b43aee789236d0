"""From requests to what the engine tells of them: several prompts at once, whole or as it comes.

Every route that lets a model write goes this way, so that refusals, failures and clients that go away are the same
everywhere.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeVar

from fastapi import Request as HttpRequest
from fastapi import Response
from pydantic_core import to_json

from puna.core.errors import GenerateError
from puna.core.version import VERSION
from puna.infer.requests import Completion, Event, FinishReason, Request, check
from puna.serve.caller import Caller
from puna.serve.errors import ApiError
from puna.serve.events import left
from puna.serve.served_model import Progress, ServedModel

TOGETHER = 64
"""Prompts of one HTTP request that are asked at a time: as many as an engine computes together."""

FINGERPRINT = f"puna-{VERSION}"
"""OpenAI's `system_fingerprint`: the same seed writes the same text as long as it stays."""

Answer = TypeVar("Answer")


def refused(model: ServedModel, requests: Sequence[Request]) -> None:
    """Refuse what the model cannot serve, before any of it waits.

    Raises:
        ApiError: A prompt is too long for the model, or a token id is not in its vocabulary.
    """
    for request in requests:
        try:
            check(request, model.config, longest=model.longest)
        except GenerateError as error:
            raise of_generate(error, too_long=len(request.prompt) >= model.longest) from None


def of_generate(error: GenerateError, *, too_long: bool = False) -> ApiError:
    """A client's error that the layers below have found.

    Args:
        error: Its sentence names what is wrong, and no path.
        too_long: Whether it is that the prompt does not fit into the model's context.
    """
    message = f"{error.message}: {error.hint}" if error.hint else error.message
    return ApiError(400, message, code="context_length_exceeded" if too_long else None)


async def told(model: ServedModel, requests: Sequence[Request], caller: Caller) -> AsyncGenerator[Event | Progress]:
    """What the engine tells of all requests as it comes; `Event.request` is the place in the list.

    The first thing told is `Progress` with nothing read, as soon as a request is taken: an error before it has a status
    of its own. Closing the generator cancels what is not done.

    Raises:
        ApiError: A request is refused, or the model has failed in one; the others are cancelled.
    """
    refused(model, requests)
    if len(requests) == 1:
        async with contextlib.aclosing(_one(model, requests[0], 0, caller)) as events:
            async for event in events:
                yield event
        return
    news: asyncio.Queue[Event | Progress | None] = asyncio.Queue(maxsize=TOGETHER)
    waiting = iter(enumerate(requests))

    async def ask() -> None:
        try:
            for place, request in waiting:
                async with contextlib.aclosing(_one(model, request, place, caller)) as events:
                    async for event in events:
                        await news.put(event)
        finally:
            # A task that fails is found by whoever reads, who may be waiting for nothing else.
            with contextlib.suppress(asyncio.QueueFull):
                news.put_nowait(None)

    tasks = [asyncio.create_task(ask()) for _ in range(min(TOGETHER, len(requests)))]
    try:
        while any(not task.done() for task in tasks) or not news.empty():
            if (event := await news.get()) is not None:
                yield event
            for task in tasks:
                if task.done():
                    task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def completions(model: ServedModel, requests: Sequence[Request], caller: Caller) -> list[Completion]:
    """All completions, in the order of the requests, the samples of one after another.

    Raises:
        ApiError: As `told`.
    """
    async with contextlib.aclosing(told(model, requests, caller)) as events:
        done = [event.completion async for event in events if isinstance(event, Event) and event.completion]
    return sorted(done, key=lambda one: (one.request, one.sample))


async def unless_left(http: HttpRequest, answering: Coroutine[Any, Any, Answer]) -> Answer:
    """The answer, given up when the client goes away before it is there.

    Args:
        http: The request, its body read.
        answering: Makes the answer.

    Raises:
        ApiError: The client has gone; nobody reads this.
    """
    answer, gone = asyncio.create_task(answering), asyncio.create_task(left(http.receive))
    try:
        await asyncio.wait([answer, gone], return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        raise ApiError(499, "the client closed its connection")
    finally:
        for task in (answer, gone):
            task.cancel()
        await asyncio.gather(answer, gone, return_exceptions=True)


def whole(value: Any) -> Response:
    """An answer of JSON.

    Args:
        value: What JSON can hold; its floats are written so that reading gives the same ones.
    """
    return Response(to_json(value, inf_nan_mode="null"), media_type="application/json")


def finish_reason(finish: FinishReason) -> Literal["stop", "length"]:
    """Why a text ends, as OpenAI says it; failures were raised before (`told`)."""
    return "length" if finish == "length" else "stop"


async def _one(model: ServedModel, request: Request, place: int, caller: Caller) -> AsyncGenerator[Event | Progress]:
    """What is told of one request, under its place in the list; first that it was taken and nothing is read yet."""
    try:
        async with contextlib.aclosing(model.ask(request, caller)) as events:
            yield Progress(0, len(request.prompt))
            async for event in events:
                if isinstance(event, Progress):
                    yield event
                    continue
                completion = event.completion
                if completion is not None:
                    _raise_failed(completion)
                    completion = replace(completion, request=place)
                yield replace(event, request=place, completion=completion) if place or completion else event
    except GenerateError as error:
        raise of_generate(error) from None


def _raise_failed(completion: Completion) -> None:
    if completion.finish == "error":
        raise ApiError(500, completion.error)
    if completion.finish == "cancelled":
        raise ApiError(503, "the server stopped this request", retry_s=1)
