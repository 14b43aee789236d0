"""Messages between the server and the process of a model: a length of four bytes, then a pickle.

Both ends are the same program on one machine, and nobody else can open the pair of sockets between them. A step of the
engine is one message, whatever it tells of how many requests; what it tells are plain tuples, which take a fraction of
the records' time, and a completion does not repeat the tokens that were told before it.

```
to the process       the loader, pickled; then `(number, Request)`, and `(number, None)` to cancel one
from the process     About or Failure, once; then Step after Step, or Refused
```
"""

import pickle
import struct
from asyncio import StreamReader
from dataclasses import dataclass, field, replace
from socket import socket
from typing import TYPE_CHECKING, Any, TypeAlias

from puna.infer.requests import Completion, Event, Request, Token

if TYPE_CHECKING:
    from puna.config.recipe import ModelConfig
    from puna.tokenizer.tokenizer import Tokenizer

Asked: TypeAlias = tuple[int, Request | None]
"""The number of a request and the request itself, or None to cancel it."""
_SlimToken: TypeAlias = tuple[int, float | None, tuple[tuple[int, float], ...]]
_End: TypeAlias = tuple[Completion, list[_SlimToken], list[_SlimToken]]
"""A completion without text and tokens, and those of the prompt and instead of its last one."""
SlimEvent: TypeAlias = tuple[int, int, _SlimToken | None, str, _End | None]
"""Number of the request, sample, token, text, and the rest of a completion."""
Read: TypeAlias = tuple[int, int, int]
"""Number of a request whose prompt is being read, tokens read, and tokens of the prompt."""

_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class About:
    """What the process says of its model when it is loaded."""

    title: str
    """How it computes: `Runner.title`."""
    config: "ModelConfig"
    tokenizer: "Tokenizer"
    template: str | None
    """The source of its chat template."""
    longest: int
    """Tokens of a text at most, prompt and answer together."""
    at_once: int
    """Sequences that run at once."""
    adapter: str = ""
    """The adapter of requests that name none; empty is the model itself."""
    templates: dict[str, str | None] = field(default_factory=dict)
    """The sources of chat templates by the names of the adapters that requests may choose."""


@dataclass(frozen=True)
class Failure:
    """Why the model cannot be loaded, as its user is told."""

    message: str
    hint: str


@dataclass(frozen=True)
class Refused:
    """The engine does not take a request."""

    number: int
    message: str
    hint: str


@dataclass(frozen=True)
class Step:
    """What a step of the engine told."""

    events: list[SlimEvent]
    read: list[Read]


def frame(message: Any) -> bytes:
    """A message as it is sent."""
    content = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(content)) + content


def receive(end: socket) -> Any:
    """The next message, waited for.

    Raises:
        EOFError: The other end is closed.
    """
    return pickle.loads(_read(end, *_LENGTH.unpack(_read(end, _LENGTH.size))))  # noqa: S301 - the same program wrote it


async def received(reader: StreamReader) -> Any:
    """The next message, waited for.

    Raises:
        EOFError: The other end is closed.
    """
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return pickle.loads(await reader.readexactly(length))  # noqa: S301 - the same program wrote it


def slim(event: Event, number: int) -> SlimEvent:
    """An event as it is sent.

    Args:
        event: Of the engine.
        number: What the other end calls its request.
    """
    done, token = event.completion, event.token
    end: _End | None = None
    if done is not None:
        slimmed = replace(done, request=0, text="", tokens=(), prompt=(), instead=())
        end = slimmed, [*map(_slim, done.prompt)], [*map(_slim, done.instead)]
    return number, event.sample, None if token is None else _slim(token), event.text, end


@dataclass(slots=True)
class _Sample:
    tokens: list[Token] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)


class Joined:
    """The events of one request, put together again.

    Args:
        n: Its samples.
    """

    def __init__(self, n: int) -> None:
        self._samples = [_Sample() for _ in range(n)]

    def event(self, told: SlimEvent) -> Event:
        """The event as the engine made it, of request 0."""
        _, number, slim_token, text, end = told
        sample = self._samples[number]
        token = None if slim_token is None else _token(slim_token)
        if token is not None:
            sample.tokens.append(token)
        if text:
            sample.texts.append(text)
        done: Completion | None = None
        if end is not None:
            slimmed, prompt, instead = end
            done = replace(
                slimmed, text="".join(sample.texts), tokens=tuple(sample.tokens), prompt=tuple(map(_token, prompt)),
                instead=tuple(map(_token, instead)),
            )  # fmt: skip
        return Event(request=0, sample=number, token=token, text=text, completion=done)


def _slim(token: Token) -> _SlimToken:
    return token.id, token.logprob, token.best


def _token(token: _SlimToken) -> Token:
    return Token(id=token[0], logprob=token[1], best=token[2])


def _read(end: socket, length: int) -> bytearray:
    content = bytearray(length)
    view, got = memoryview(content), 0
    while got < length:
        more = end.recv_into(view[got:])
        if not more:
            raise EOFError
        got += more
    return content
