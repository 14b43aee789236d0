"""`/v1/completions`: texts that a model continues."""

import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Request, Response

from puna.infer.requests import Completion, Event, Token
from puna.infer.requests import Request as Asked
from puna.serve.answers import FINGERPRINT, completions, finish_reason, told, unless_left, whole
from puna.serve.body import JsonRoute
from puna.serve.caller import Caller
from puna.serve.completion_logprobs import LogprobLists
from puna.serve.dependencies import From, Models, model_of
from puna.serve.events import DONE, EventStream, Frames, data, progress
from puna.serve.prompts import prompts_of
from puna.serve.schema.completions import MAX_TOKENS, CompletionAnswer, CompletionRequest
from puna.serve.schema.error import ERRORS
from puna.serve.schema.fields import wants_usage
from puna.serve.served_model import Progress, ServedModel
from puna.serve.structured import check_guide, guide_of_structured_outputs
from puna.serve.usage import usage_of
from puna.tokenizer.bos import begins_text

router = APIRouter(route_class=JsonRoute, tags=["completions"], responses=ERRORS)


@router.post("/v1/completions", responses={200: {"model": CompletionAnswer, "content": {"text/event-stream": {}}}})
async def complete(body: CompletionRequest, models: Models, caller: From, http: Request) -> Response:
    """Continue one prompt or several, each with one text or several."""
    model = model_of(body.model, models)
    answer = _Answer(body, model, await _requests(body, model), caller)
    if body.stream:
        return await EventStream.begin(answer.frames())
    return whole(await unless_left(http, answer.whole()))


async def _requests(body: CompletionRequest, model: ServedModel) -> list[Asked]:
    """What the engine is asked, one for each prompt."""
    echoed = body.logprobs if body.echo else None
    sampling = body.sampling()
    guide = guide_of_structured_outputs(body.structured_outputs)
    await check_guide(guide, model, param="structured_outputs")
    return [
        Asked(
            prompt=prompt, max_tokens=MAX_TOKENS if body.max_tokens is None else body.max_tokens, sampling=sampling,
            stop_ids=frozenset(model.tokenizer.stops), stop=body.stops, n=body.samples, logprobs=body.logprobs,
            prompt_logprobs=echoed, guide=guide,
        )
        for prompt in await prompts_of(body.prompt, model)
    ]  # fmt: skip


class _Answer:
    """The answer to one request, whole or in pieces."""

    def __init__(self, body: CompletionRequest, model: ServedModel, requests: Sequence[Asked], caller: Caller) -> None:
        self._body, self._model, self._requests, self._caller = body, model, requests, caller
        self._wants_usage = wants_usage(body.stream_options)
        self._head = {
            "id": f"cmpl-{uuid4().hex}", "object": "text_completion", "created": int(time.time()),
            "model": model.name, "system_fingerprint": FINGERPRINT,
        }  # fmt: skip

    async def whole(self) -> dict[str, Any]:
        """The answer that is not streamed, an object of JSON."""
        done = await completions(self._model, self._requests, self._caller)
        return {**self._head, "choices": [self._choice(one) for one in done], "usage": usage_of(done)}

    async def frames(self) -> Frames:
        """The texts in pieces."""
        texts: dict[tuple[int, int], _Growing] = defaultdict(lambda: _Growing(self))
        done: list[Completion] = []
        usage: dict[str, Any] = {"usage": None} if self._wants_usage else {}
        async with aclosing(told(self._model, self._requests, self._caller)) as events:
            async for event in events:
                if isinstance(event, Progress):
                    yield progress(event)
                    continue
                if event.completion is not None:
                    done.append(event.completion)
                if (piece := texts[event.request, event.sample].piece(event)) is not None:
                    yield data({**self._head, "choices": [piece], **usage})
        if self._wants_usage:
            yield data({**self._head, "choices": [], "usage": usage_of(done)})
        yield DONE

    def index(self, request: int, sample: int) -> int:
        """The number of a text among all."""
        return request * self._body.samples + sample

    def lists(self, prompt: Sequence[int], offset: int = 0) -> LogprobLists:
        """The lists of a text behind a prompt."""
        tokenizer = self._model.tokenizer
        begins = begins_text(tokenizer, prompt)
        return LogprobLists(tokenizer, best=bool(self._body.logprobs), starts_text=begins, offset=offset)

    def echo(self, request: int) -> str:
        """The prompt's text, where it is asked for."""
        if not self._body.echo:
            return ""
        vocabulary = self._model.tokenizer.vocab_size  # models may have more ids
        return self._model.tokenizer.decode([one for one in self._requests[request].prompt if one < vocabulary])

    def _choice(self, done: Completion) -> dict[str, Any]:
        """A finished text as an entry of `choices`."""
        prompt, echo = self._requests[done.request].prompt, self.echo(done.request)
        logprobs: dict[str, Any] | None = None
        if self._body.logprobs is not None:
            logprobs = self.lists(prompt, len(echo)).write([*done.tokens, *_end(done)])
            if self._body.echo:
                best = bool(self._body.logprobs)
                before = LogprobLists(self._model.tokenizer, best=best, starts_text=True)
                read = before.write([Token(id=prompt[0]), *done.prompt])
                logprobs = {name: values and values + logprobs[name] for name, values in read.items()}
        return {
            "index": self.index(done.request, done.sample), "text": echo + done.text, "logprobs": logprobs,
            "finish_reason": finish_reason(done.finish),
        }  # fmt: skip

    def has_logprobs(self) -> bool:
        """Whether they are asked for."""
        return self._body.logprobs is not None

    def prompt(self, request: int) -> tuple[int, ...]:
        """The ids of a prompt."""
        return self._requests[request].prompt


class _Growing:
    """One text of a stream."""

    def __init__(self, answer: _Answer) -> None:
        self._answer = answer
        self._lists: LogprobLists | None = None
        self._began = False

    def piece(self, event: Event) -> dict[str, Any] | None:
        """What an event adds; None where nobody would see it."""
        answer, done = self._answer, event.completion
        text = event.text if self._began else answer.echo(event.request) + event.text
        self._began = True
        logprobs: dict[str, Any] | None = None
        if answer.has_logprobs():
            self._lists = self._lists or answer.lists(answer.prompt(event.request))
            tokens = [event.token] if event.token else []
            tokens += _end(done) if done else []
            logprobs = self._lists.write(tokens) if tokens or done else None
        if not text and logprobs is None and done is None:
            return None
        return {
            "index": answer.index(event.request, event.sample), "text": text, "logprobs": logprobs,
            "finish_reason": None if done is None else finish_reason(done.finish),
        }  # fmt: skip


def _end(done: Completion) -> list[Token]:
    """The token that ended a text: it has a place in the lists, as it had in OpenAI's own.

    lm-evaluation-harness asks for one token behind an echoed text and takes off the last entry without looking.
    """
    return [] if done.stop_token is None else [done.stop_token]
