"""`/v1/chat/completions`: answers to conversations, with calls of functions."""

import time
from collections import defaultdict
from contextlib import aclosing
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Request, Response

from puna.chat.tool_calls import CallPiece, CallReader, gathered
from puna.infer.guides import Guide
from puna.infer.requests import Completion, Event, Token
from puna.infer.requests import Request as Asked
from puna.serve.answers import FINGERPRINT, finish_reason, told, unless_left, whole
from puna.serve.body import JsonRoute
from puna.serve.caller import Caller
from puna.serve.dependencies import From, Models, model_of
from puna.serve.dialogue import dialogue, logprob_of, room
from puna.serve.events import DONE, EventStream, Frames, data, progress
from puna.serve.schema.chat import ChatAnswer, ChatRequest
from puna.serve.schema.error import ERRORS
from puna.serve.schema.fields import wants_usage
from puna.serve.served_model import Progress, ServedModel
from puna.serve.structured import check_guide, guide_of_response_format, guide_of_structured_outputs
from puna.serve.tool_use import ToolUse, tool_use
from puna.serve.usage import usage_of

router = APIRouter(route_class=JsonRoute, tags=["chat"], responses=ERRORS)


@router.post("/v1/chat/completions", responses={200: {"model": ChatAnswer, "content": {"text/event-stream": {}}}})
async def chat(body: ChatRequest, models: Models, caller: From, http: Request) -> Response:
    """Answer a conversation, once or several times."""
    model = model_of(body.model, models)
    functions = body.functions()
    use = await tool_use(
        model, functions, allowed=body.allowed(), required=body.must_call,
        several=body.parallel_tool_calls is not False, strict=body.strict(),
    )  # fmt: skip
    guide = use.guide if use else await _guide(body, model)
    ready = await dialogue(model, body.turns(), functions)
    request = Asked(
        prompt=ready.prompt, max_tokens=body.most_tokens or room(model, ready.prompt), sampling=body.sampling(),
        stop_ids=ready.stop_ids, stop=(*body.stops, *ready.stops), n=body.samples, logprobs=body.top,
        guide=guide,
    )  # fmt: skip
    answer = _Answer(body, model, request, caller, use)
    if body.stream:
        return await EventStream.begin(answer.frames())
    return whole(await unless_left(http, answer.whole()))


async def _guide(body: ChatRequest, model: ServedModel) -> Guide | None:
    """What the text has to be; None where it may be any.

    Raises:
        ApiError: The guide cannot be followed (400).
    """
    guide, param = guide_of_response_format(body.response_format), "response_format"
    if guide is None:
        guide, param = guide_of_structured_outputs(body.structured_outputs), "structured_outputs"
    await check_guide(guide, model, param=param)
    return guide


class _Answer:
    """The answer to one request, whole or in pieces."""

    def __init__(
        self, body: ChatRequest, model: ServedModel, request: Asked, caller: Caller, use: ToolUse | None
    ) -> None:
        self._body, self._model, self._request, self._caller, self._use = body, model, request, caller, use
        self._wants_usage = wants_usage(body.stream_options)
        self._head = {
            "id": f"chatcmpl-{uuid4().hex}",
            "object": "chat.completion.chunk" if body.stream else "chat.completion", "created": int(time.time()),
            "model": model.name, "system_fingerprint": FINGERPRINT,
        }  # fmt: skip

    async def whole(self) -> dict[str, Any]:
        """The object of all answers, whole."""
        texts: dict[int, _Text] = defaultdict(self._text)
        done: dict[int, Completion] = {}
        async with aclosing(told(self._model, [self._request], self._caller)) as events:
            async for event in events:
                if isinstance(event, Event):
                    texts[event.sample].add(event)
                    if event.completion is not None:
                        done[event.sample] = event.completion
        choices = [self._choice(texts[sample], done[sample]) for sample in sorted(done)]
        return {**self._head, "choices": choices, "usage": usage_of(done.values())}

    def _choice(self, text: "_Text", done: Completion) -> dict[str, Any]:
        content, calls = gathered(text.pieces)
        message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
        if calls:
            message |= {"content": content or None, "tool_calls": [call.saved for call in calls]}
        return {
            "index": done.sample, "message": message, "logprobs": self._logprobs(done.tokens),
            "finish_reason": text.finish_reason(done),
        }  # fmt: skip

    async def frames(self) -> Frames:
        """The texts in chunks: first the role, then what is written, then why it ends."""
        texts: dict[int, _Text] = {}
        done: list[Completion] = []
        async with aclosing(told(self._model, [self._request], self._caller)) as events:
            async for event in events:
                if isinstance(event, Progress):
                    yield progress(event)
                    continue
                if event.sample not in texts:
                    texts[event.sample] = self._text()
                    yield self._chunk(event.sample, {"role": "assistant", "content": "", "refusal": None})
                for chunk in self._chunks(texts[event.sample], event):
                    yield chunk
                if event.completion is not None:
                    done.append(event.completion)
                    yield self._chunk(event.sample, {}, finish=texts[event.sample].finish_reason(event.completion))
        if self._wants_usage:
            yield data({**self._head, "choices": [], "usage": usage_of(done)})
        yield DONE

    def _chunks(self, text: "_Text", event: Event) -> list[bytes]:
        """What an event adds; the log-probability of its token goes with the first."""
        deltas = [_delta(piece) for piece in text.add(event)]
        logprobs = self._logprobs((event.token,) if event.token else ())
        if not deltas and logprobs and logprobs["content"]:
            deltas = [{"content": ""}]
        return [self._chunk(event.sample, delta, logprobs=None if at else logprobs) for at, delta in enumerate(deltas)]

    def _chunk(
        self, sample: int, delta: dict[str, Any], *, logprobs: dict[str, Any] | None = None, finish: str | None = None
    ) -> bytes:
        choice = {"index": sample, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return data({**self._head, "choices": [choice], **({"usage": None} if self._wants_usage else {})})

    def _text(self) -> "_Text":
        return _Text(self._use.reader(early=self._body.stream is True) if self._use else None)

    def _logprobs(self, tokens: tuple[Token, ...]) -> dict[str, Any] | None:
        """Of tokens; None where nobody asked for them."""
        if self._request.logprobs is None:
            return None
        return {"content": [logprob_of(token, self._model.tokenizer) for token in tokens], "refusal": None}


class _Text:
    """One answer as it grows.

    Args:
        reader: Finds calls; None where there are no functions to call.
    """

    def __init__(self, reader: CallReader | None) -> None:
        self._reader = reader
        self.pieces: list[str | CallPiece] = []
        """All that were found."""

    def add(self, event: Event) -> list[str | CallPiece]:
        """The text and the calls that an event adds."""
        if self._reader is None:
            found: list[str | CallPiece] = [event.text] if event.text else []
        else:
            found = self._reader.push(event.text, event.token.id if event.token else None)
            if event.completion is not None:
                found += self._reader.finish()
        self.pieces += found
        return found

    def finish_reason(self, done: Completion) -> str:
        """Why the answer ends: it waits for what it has called, if it was not cut off."""
        reason = finish_reason(done.finish)
        return "tool_calls" if reason == "stop" and self._reader is not None and self._reader.calls else reason


def _delta(piece: str | CallPiece) -> dict[str, Any]:
    """A piece as a chunk tells it."""
    if isinstance(piece, str):
        return {"content": piece}
    call: dict[str, Any] = {"index": piece.index, "function": {"arguments": piece.arguments}}
    if piece.id:
        function = {"name": piece.name, "arguments": piece.arguments}
        call |= {"id": piece.id, "type": "function", "function": function}
    return {"tool_calls": [call]}
