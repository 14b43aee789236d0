"""The outermost part of the application: which host was meant, headers for browsers, and a line of the log.

A page of any site can make a browser send requests to this machine. The browser keeps the answers from the page unless
the server names its origin (CORS, off unless asked for), and asks first where the content is JSON. A site whose name is
made to lead to this machine's address ("DNS rebinding") would be of the same origin; but then the request's `Host` is
the site's name. So a host is taken only if it is an address, this machine's name, or one that was allowed.
"""

import ipaddress
import re
import socket
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime

from puna.core.errors import escaped
from puna.serve.asgi import App, Message, Receive, Scope, Send, header, refuse
from puna.serve.errors import ApiError

_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cache-control": b"no-store",
}
"""Given to every answer that does not have its own (OWASP, "REST Security Cheat Sheet", security headers)."""
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^:\[\]]+)(?::\d{1,5})?", re.IGNORECASE)
_QUIET = frozenset({"/health", "/ready", "/metrics"})
"""What programs ask for every few seconds: in the log only if something is wrong."""
_LONGEST_PATH = 100


class Edge:
    """An application of ASGI around all others.

    Args:
        app: What answers.
        hosts: Names by which the server may be called besides its addresses and this machine's name.
    """

    def __init__(self, app: App, hosts: Iterable[str] = ()) -> None:
        self._app = app
        self._hosts = {"localhost", socket.gethostname().lower(), *(host.lower() for host in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for another host; have others answered, and write them into the log."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.monotonic()
        status, n_bytes = 0, 0

        async def noted(message: Message) -> None:
            nonlocal status, n_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _with_defaults(message.get("headers", ()))
            else:
                n_bytes += len(message.get("body", b""))
            await send(message)

        try:
            if (error := self._other_host(scope)) is not None:
                await refuse(scope, receive, noted, error)
            else:
                await self._app(scope, receive, noted)
        finally:
            if status >= 400 or scope["path"] not in _QUIET:
                print(_line(scope, status, time.monotonic() - begun, n_bytes), file=sys.stderr, flush=True)

    def _other_host(self, scope: Scope) -> ApiError | None:
        hosts = header(scope, b"host")
        found = _HOST.fullmatch(hosts[0].decode("latin-1")) if len(hosts) == 1 else None
        if found is None:
            return ApiError(400, "the request must have one header Host, a name or an address", code="invalid_host")
        name = found["name"].strip("[]").lower().removesuffix(".")
        if name in self._hosts or name.endswith(".localhost") or _is_address(name):
            return None
        return ApiError(
            403, "the request is for a host that this server was not told of; its operator can allow it (--allow-host)",
            code="host_not_allowed",
        )  # fmt: skip


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _with_defaults(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    given = list(headers)
    names = {name.lower() for name, _ in given}
    return given + [(name, value) for name, value in _HEADERS.items() if name not in names]


def _line(scope: Scope, status: int, seconds: float, n_bytes: int) -> str:
    """Time, address, the key's name, what was asked, how it ended (0: the client left), how long it took, bytes sent.

    Neither queries nor headers nor bodies: they can hold texts and keys.
    """
    client = scope.get("client")
    caller = scope.get("puna.caller")
    path = escaped(scope["path"][:_LONGEST_PATH]).replace("\n", "\\n").replace(" ", "%20")
    return (
        f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {client[0] if client else '-'} {caller.name if caller else '-'} "
        f"{scope['method']} {path} {status} {seconds:.3f}s {n_bytes}"
    )
