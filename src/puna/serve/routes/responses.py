"""`/v1/responses`: an answer to a conversation that is sent whole, as an object that grows in events or at once."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter, Request, Response

from puna.infer.requests import Event, Token
from puna.infer.requests import Request as Asked
from puna.serve.answers import told, unless_left, whole
from puna.serve.body import JsonRoute
from puna.serve.caller import Caller
from puna.serve.dependencies import From, Models, model_of
from puna.serve.dialogue import dialogue, logprob_of, room
from puna.serve.errors import ApiError
from puna.serve.events import EventStream, Frames, data, progress
from puna.serve.response_input import functions_of, messages_of, settings_of
from puna.serve.response_writer import Json, ResponseWriter, Usage
from puna.serve.schema.error import ERRORS
from puna.serve.schema.response_answer import ResponseAnswer
from puna.serve.schema.responses import ResponseRequest
from puna.serve.served_model import Progress, ServedModel
from puna.serve.structured import check_guide, guide_of_text_format
from puna.serve.tool_use import ToolUse, tool_use
from puna.tokenizer.tokenizer import Tokenizer

router = APIRouter(route_class=JsonRoute, tags=["responses"], responses=ERRORS)


@router.post("/v1/responses", responses={200: {"model": ResponseAnswer, "content": {"text/event-stream": {}}}})
async def respond(body: ResponseRequest, models: Models, caller: From, http: Request) -> Response:
    """Answer a conversation; the server keeps nothing of it."""
    model = model_of(body.model, models)
    functions = functions_of(body)
    use = await tool_use(
        model, functions.told, allowed=functions.allowed, required=functions.required,
        several=body.parallel_tool_calls is not False, strict=functions.strict, schema="parameters",
    )  # fmt: skip
    guide = use.guide if use else None
    if guide is None and body.text is not None:
        guide = guide_of_text_format(body.text.format)
        await check_guide(guide, model, param="text.format")
    ready = await dialogue(model, messages_of(body), functions.told, param="input")
    request = Asked(
        prompt=ready.prompt, max_tokens=body.max_output_tokens or room(model, ready.prompt), sampling=body.sampling(),
        stop_ids=ready.stop_ids, stop=ready.stops, guide=guide,
        logprobs=(body.top_logprobs or 0) if body.tells_logprobs else None,
    )  # fmt: skip
    answer = _Answer(body, model, request, caller, use)
    if body.stream:
        return await EventStream.begin(answer.frames(), failed=answer.failed)
    return whole(await unless_left(http, answer.whole()))


class _Answer:
    """The answer to one request, whole or in events."""

    def __init__(
        self, body: ResponseRequest, model: ServedModel, request: Asked, caller: Caller, use: ToolUse | None
    ) -> None:
        self._body, self._model, self._caller, self._request = body, model, caller, request
        self._writer = ResponseWriter(settings_of(body, model.name), created=int(time.time()))
        self._reader = use.reader(early=body.stream is True) if use else None
        self._logprobs: list[Json] = []
        """Of tokens that may be text or a call."""

    async def whole(self) -> Json:
        """The object of the response, when it has ended."""
        last: Json = {}
        async with aclosing(self._events()) as events:
            async for event in events:
                if not isinstance(event, Progress):
                    last = event
        return last["response"]

    async def frames(self) -> Frames:
        """The response in events."""
        async with aclosing(self._events()) as events:
            async for event in events:
                yield progress(event) if isinstance(event, Progress) else data(event, event["type"])

    def failed(self, error: ApiError) -> bytes:
        """The frames of an answer that breaks off."""
        return b"".join(data(event, event["type"]) for event in self._writer.fail(error))

    async def _events(self) -> AsyncGenerator[Json | Progress]:
        begun = False
        async with aclosing(told(self._model, [self._request], self._caller)) as events:
            async for event in events:
                if not begun:  # the request stands in the queue; before that it may be refused
                    begun = True
                    for one in self._writer.begin():
                        yield one
                if isinstance(event, Progress):
                    yield event
                    continue
                for one in self._take(event):
                    yield one

    def _take(self, event: Event) -> list[Json]:
        """What an event of the engine adds."""
        if event.token is not None and self._body.tells_logprobs:
            self._logprobs.append(_logprob(event.token, self._model.tokenizer))
        found = self._written(event)
        if event.completion is not None:
            done = event.completion
            usage = Usage(prompt=done.prompt_tokens, cached=done.cached_tokens, written=len(done.tokens))
            found += self._writer.end(usage, cut=done.finish == "length", now=int(time.time()))
        return found

    def _written(self, event: Event) -> list[Json]:
        """The text and the calls that an event adds."""
        if self._reader is None:
            return self._writer.text(event.text, self._placed())
        pieces = self._reader.push(event.text, event.token.id if event.token else None)
        if event.completion is not None:
            pieces += self._reader.finish()
        found: list[Json] = []
        for piece in pieces:
            logprobs = self._placed()  # of a call's tokens, they are told nowhere
            if isinstance(piece, str):
                found += self._writer.text(piece, logprobs)
                continue
            if piece.id:
                found += self._writer.call(piece.name, piece.id)
            found += self._writer.arguments(piece.arguments)
        return found

    def _placed(self) -> list[Json]:
        """The log-probabilities of tokens whose place is known now."""
        placed, self._logprobs = self._logprobs, []
        return placed


def _logprob(token: Token, tokenizer: Tokenizer) -> Json:
    """As chats have it, but for tokens without bytes, whose type in responses knows no null."""
    told = logprob_of(token, tokenizer)
    best = [{**one, "bytes": one["bytes"] or []} for one in told["top_logprobs"]]
    return {**told, "bytes": told["bytes"] or [], "top_logprobs": best}
