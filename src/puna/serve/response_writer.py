"""The response object of `/v1/responses` as it grows, and the events that tell of it, in the specified order.

A response has items, messages and calls of functions, one after the other. For a message:

```
response.created, response.in_progress
  response.output_item.added
    response.content_part.added
      response.output_text.delta …            as often as there is text
    response.output_text.done, response.content_part.done
  response.output_item.done
response.completed | response.incomplete | response.failed
```

A call has `response.function_call_arguments.delta` and `.done` between its item's events. Every event has the next
`sequence_number`, from 0, and the last one the whole response; no `[DONE]` follows. An answer that is not streamed is
the response of the last event, so the two cannot differ.

Sources: OpenAI's OpenAPI document (openai/openai-openapi, path `/responses`, example "Streaming", schemas
`Response…Event`), and the types of openai-python 3.57, against which the tests check every event.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import uuid4

from pydantic_core import from_json

from puna.serve.errors import ApiError

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens that a response took."""

    prompt: int
    """Tokens of the prompt."""
    cached: int
    """Of the prompt, found in the cache."""
    written: int
    """Tokens of the answer."""

    @property
    def json(self) -> Json:
        """As the response tells it. What was not in the cache is computed, and stands there then."""
        return {
            "input_tokens": self.prompt,
            "input_tokens_details": {
                "cached_tokens": self.cached, "cache_write_tokens": self.prompt - self.cached,
            },
            "output_tokens": self.written,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": self.prompt + self.written,
        }  # fmt: skip


@dataclass
class _Item:
    """The item that is being written."""

    kind: Literal["message", "function_call"]
    id: str
    name: str = ""
    call_id: str = ""
    pieces: list[str] = field(default_factory=list)
    logprobs: list[Json] = field(default_factory=list)
    untold: list[Json] = field(default_factory=list)
    """Log-probabilities of tokens whose text is not certain yet."""

    @property
    def is_whole_call(self) -> bool:
        """Whether it is a call with all its arguments: an object of JSON has nothing behind its last brace."""
        if self.kind == "message":
            return False
        try:
            return isinstance(from_json("".join(self.pieces)), dict)
        except ValueError:
            return False

    def json(self, status: str) -> Json:
        text = "".join(self.pieces)
        if self.kind == "function_call":
            return {
                "id": self.id, "type": "function_call", "status": status, "call_id": self.call_id,
                "name": self.name, "arguments": text,
            }  # fmt: skip
        content = [] if status == "in_progress" else [_part(text, self.logprobs)]
        return {"id": self.id, "type": "message", "status": status, "role": "assistant", "content": content}


class ResponseWriter:
    """Writes one response; each method gives the events of what has come.

    Args:
        settings: What the response repeats of the request: `model`, `instructions`, `temperature` and so on.
        created: Seconds of Unix time.
    """

    def __init__(self, settings: Mapping[str, Any], *, created: int) -> None:
        self.id = _name("resp")
        self._settings = dict(settings)
        self._created = created
        self._number = 0
        self._done: list[Json] = []
        self._item: _Item | None = None

    def begin(self) -> list[Json]:
        """The first two events."""
        response = self.response("in_progress")
        return [
            self._event("response.created", response=response),
            self._event("response.in_progress", response=response),
        ]

    def text(self, delta: str, logprobs: Sequence[Json] = ()) -> list[Json]:
        """More of the answer's text.

        Args:
            delta: May be empty, where a token's text is not certain yet.
            logprobs: Of the tokens that came, as a message's `logprobs` has them; they go with the next text.
        """
        if not (delta or logprobs):
            return []
        item, events = self._open("message")
        item.untold += logprobs
        return events + (self._tell(item, delta) if delta else [])

    def call(self, name: str, call_id: str) -> list[Json]:
        """A call of a function begins.

        Args:
            name: The function's.
            call_id: By which the client will give back what the function answered.
        """
        return self._open("function_call", name, call_id)[1]

    def arguments(self, delta: str) -> list[Json]:
        """More of the arguments of the call that has begun, which are JSON in the end."""
        item = self._item
        if item is None or item.kind != "function_call":
            raise ValueError("arguments stand behind the beginning of their call")
        item.pieces.append(delta)
        return [self._item_event("response.function_call_arguments.delta", item, delta=delta)] if delta else []

    def end(self, usage: Usage, *, cut: bool, now: int) -> list[Json]:
        """Nothing more comes.

        Args:
            usage: What it took.
            cut: Whether `max_output_tokens` or the model's context ended it; what was being written is incomplete then,
                but for a call that is whole.
            now: Seconds of Unix time.
        """
        events = [] if self._item or self._done else self._open("message")[1]
        status = "incomplete" if cut else "completed"
        events += self._close(status)
        response = self.response(status, usage=usage.json)
        if cut:
            response["incomplete_details"] = {"reason": "max_output_tokens"}
        else:
            response["completed_at"] = now
        return [*events, self._event(f"response.{status}", response=response)]

    def fail(self, error: ApiError) -> list[Json]:
        """The answer has broken off; what there is of it is incomplete.

        Args:
            error: Why.
        """
        events = self._close("incomplete")
        code = "rate_limit_exceeded" if error.status == 429 else "server_error"
        response = self.response("failed", error={"code": code, "message": error.message})
        return [*events, self._event("response.failed", response=response)]

    def response(self, status: str, **changed: Any) -> Json:
        """The response as it is.

        Args:
            status: `in_progress`, `completed`, `incomplete` or `failed`.
            changed: Fields that differ from those of a response that has just begun.
        """
        return {
            "id": self.id, "object": "response", "created_at": self._created, "status": status, "completed_at": None,
            "error": None, "incomplete_details": None, **self._settings, "output": list(self._done), "usage": None,
            **changed,
        }  # fmt: skip

    def _open(
        self, kind: Literal["message", "function_call"], name: str = "", call_id: str = ""
    ) -> tuple[_Item, list[Json]]:
        """The item to write to, and the events by which it begins; a text goes on where one is being written."""
        if self._item and self._item.kind == kind == "message":
            return self._item, []
        events = self._close("completed")
        item = self._item = _Item(kind, _name("msg" if kind == "message" else "fc"), name, call_id)
        events.append(
            self._event("response.output_item.added", output_index=len(self._done), item=item.json("in_progress"))
        )
        if kind == "message":
            events.append(self._part_event("response.content_part.added", item, part=_part("", ())))
        return item, events

    def _tell(self, item: _Item, delta: str) -> list[Json]:
        """The text and the log-probabilities of what has come since the last time."""
        told, item.untold = item.untold, []
        item.pieces.append(delta)
        item.logprobs += told
        return [self._part_event("response.output_text.delta", item, delta=delta, logprobs=told)]

    def _close(self, status: str) -> list[Json]:
        if self._item is None:
            return []
        item, events = self._item, []
        text = "".join(item.pieces)
        if item.kind == "message":
            if item.untold:  # of a stop string, whose text is not part of the answer
                events += self._tell(item, "")
            events += [
                self._part_event("response.output_text.done", item, text=text, logprobs=list(item.logprobs)),
                self._part_event("response.content_part.done", item, part=_part(text, item.logprobs)),
            ]
        else:
            events.append(
                self._item_event("response.function_call_arguments.done", item, name=item.name, arguments=text)
            )
        whole = item.json("completed" if item.is_whole_call else status)
        events.append(self._event("response.output_item.done", output_index=len(self._done), item=whole))
        self._done.append(whole)
        self._item = None
        return events

    def _part_event(self, kind: str, item: _Item, **fields: Any) -> Json:
        return self._item_event(kind, item, content_index=0, **fields)

    def _item_event(self, kind: str, item: _Item, **fields: Any) -> Json:
        return self._event(kind, item_id=item.id, output_index=len(self._done), **fields)

    def _event(self, kind: str, **fields: Any) -> Json:
        number, self._number = self._number, self._number + 1
        return {"type": kind, "sequence_number": number, **fields}


def _part(text: str, logprobs: Sequence[Json]) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": list(logprobs)}


def _name(kind: str) -> str:
    return f"{kind}_{uuid4().hex}"
