"""Between the network and the routes: the key, the quota of its caller, and the body.

The body is read whole, within its size and time, before a route hears of the request: no route waits for a slow client,
and none can forget a limit. Who asks is in the scope as `puna.caller`.
"""

import asyncio
import contextlib
from collections import Counter

from puna.serve.asgi import App, Message, Receive, Scope, Send, has_body, header, refuse
from puna.serve.caller import ANYONE, Caller
from puna.serve.errors import ApiError
from puna.serve.keys import Keys
from puna.serve.limits import Limits
from puna.serve.quotas import Quotas

_OPEN = frozenset({"/", "/health", "/ready", "/openapi.json", "/favicon.ico"})
_OPEN_BELOW = "/page/"


class _HungUpError(Exception):
    """The client hung up before its body was complete."""


class Admission:
    """An application of ASGI around another, which it calls with requests that may be answered.

    Args:
        app: The routes.
        keys: Who may ask; None: anyone. Without a key one sees the page's files, its health and the interface's schema,
            and may send no body, which would take room from those who have one.
        limits: Of bodies, and of requests of a key.
    """

    def __init__(self, app: App, keys: Keys | None, limits: Limits) -> None:
        self._app, self._keys, self._limits = app, keys, limits
        self._quotas = Quotas(limits.requests_at_once, limits.requests_per_minute)
        self._held = 0
        """Bytes of all bodies whose requests are being answered."""
        self._held_of: Counter[str] = Counter()
        """Of each caller that has a key."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let the routes do it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = bytearray()
        with contextlib.ExitStack() as held:
            try:
                caller = self._caller(scope)
                held.enter_context(self._quotas.place(caller))
                held.callback(lambda: self._hold(caller, -len(body)))
                await self._read(scope, receive, body, caller)
            except _HungUpError:
                return
            except ApiError as error:
                await refuse(scope, receive, send, error)
                return
            scope["puna.caller"] = caller
            await self._app(scope, _replayed(body, receive), send)

    def _hold(self, caller: Caller, n_bytes: int) -> None:
        self._held += n_bytes
        self._held_of[caller.name] += n_bytes

    def _caller(self, scope: Scope) -> Caller:
        path = scope["path"]
        if self._keys is None:
            return ANYONE
        if path in _OPEN or path.startswith(_OPEN_BELOW):
            if has_body(scope):
                raise ApiError(413, "a request for this path has no body", code="request_too_large")
            return ANYONE
        return self._keys.caller(header(scope, b"authorization"))

    async def _read(self, scope: Scope, receive: Receive, body: bytearray, caller: Caller) -> None:
        most = self._limits.body_bytes
        too_large = ApiError(413, f"the request's body has more than {most:,} bytes", code="request_too_large")
        if any(int(length) > most for length in header(scope, b"content-length")):
            raise too_large
        try:
            async with asyncio.timeout(self._limits.body_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _HungUpError
                    chunk = message.get("body", b"")
                    body += chunk
                    self._hold(caller, len(chunk))
                    if len(body) > most:
                        raise too_large
                    if caller != ANYONE and self._held_of[caller.name] > self._limits.bodies_bytes // 2:
                        raise ApiError(
                            429, "this key's requests hold as many bytes as they may",
                            code="rate_limit_exceeded", retry_s=1,
                        )  # fmt: skip
                    if self._held > self._limits.bodies_bytes:
                        raise ApiError(503, "the server holds as many bytes of requests as it may", retry_s=1)
                    if not message.get("more_body", False):
                        return
        except TimeoutError:
            raise ApiError(
                408, f"the request's body did not arrive within {self._limits.body_s:g} seconds", code="request_timeout"
            ) from None


def _replayed(body: bytearray, receive: Receive) -> Receive:
    """`receive` of a request whose body has been read: it comes in one message, then what follows it."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": bytes(body), "more_body": False}

    return replay
