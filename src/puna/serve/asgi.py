"""ASGI's types, and the refusals of those layers that no request has passed yet."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from puna.serve.errors import ApiError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An application, and what it is called with: ASGI 3.0."""

_LINGER_S = 2.0
"""How long a refused body is read and thrown away. A server that hangs up on a client which still sends makes the
system discard the answer, too (nginx: `lingering_close`)."""


def header(scope: Scope, name: bytes) -> list[bytes]:
    """The values of a request's headers of a name, which is in lower case."""
    return [value for key, value in scope["headers"] if key == name]


def has_body(scope: Scope) -> bool:
    """Whether a request's headers announce a body."""
    return any(value != b"0" for value in header(scope, b"content-length")) or bool(header(scope, b"transfer-encoding"))


async def refuse(scope: Scope, receive: Receive, send: Send, error: ApiError) -> None:
    """Answer with an error, instead of the routes; a body that has not been read is not, and the connection ends."""
    unread = has_body(scope)
    content = json.dumps(error.body).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(content))} | error.headers
    if unread:
        headers["Connection"] = "close"
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": raw})
    await send({"type": "http.response.body", "body": content, "more_body": unread})
    if unread:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while (message := await receive())["type"] == "http.request" and message.get("more_body", False):
                    pass
        await send({"type": "http.response.body"})
