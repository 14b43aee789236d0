"""One connection: uvicorn's protocol with bounds on headers, on silence, and on answers that nobody reads.

uvicorn bounds neither the size of headers nor the time that they take, nor how long an answer may wait for a client
that has stopped reading; and of several requests sent at once it tells only the last that the client has gone.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Literal

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from puna.serve.errors import ApiError
from puna.serve.limits import Limits

_LINGER_S = 2.0
"""How long what a refused client still sends is thrown away (see `asgi.refuse`)."""


class _TooLargeError(Exception):
    """Headers beyond the bounds; httptools tells it as an error of its own, for which uvicorn refuses the request."""


class Connection(HttpToolsProtocol):
    """A connection within `limits`; `within` makes a class for other limits.

    What the server waits for has its time: a request's headers (`header_s`), a further request (`idle_s`, uvicorn's
    keep-alive), the reading of an answer (`write_s`). The body's time is `Admission`'s.
    """

    limits = Limits()

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._timers: dict[Literal["header", "write", "end"], asyncio.TimerHandle] = {}
        self._running: RequestResponseCycle | None = None
        """The request that is being answered; `cycle` is the newest, which may wait behind it."""
        self._in_header = False
        self._whole_bytes, self._raw_bytes = 0, 0
        """Of a request's headers and trailers: in those that are whole, and in pieces that hold nothing else."""
        self._went_on = False
        """Whether the last piece held more than a part of these."""
        self._too_large = False
        self._refused = False

    @classmethod
    def within(cls, limits: Limits) -> "type[Connection]":
        """The class of connections with these limits."""
        return type(cls.__name__, (cls,), {"limits": limits})

    @property
    def is_idle(self) -> bool:
        """Whether no request of the connection is being answered or waits."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection; where there are as many as may be, one that waits for nothing is closed for it."""
        super().connection_made(transport)
        self._wait("header", self.limits.header_s, self._header_is_late)
        if len(self.connections) > self.limits.connections:
            others = (other for other in self.connections if other is not self and isinstance(other, Connection))
            idle = next((other for other in others if other.is_idle and not other.transport.is_closing()), None)
            if idle is None:
                self._answer(ApiError(503, "the server has as many connections as it may", retry_s=1))
                transport.close()
            else:
                idle.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is being answered, also where others wait behind it."""
        for name in tuple(self._timers):
            self._stop(name)
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self.pipeline.clear()
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()

    def data_received(self, data: bytes) -> None:
        """Parse what came; headers and trailers that began in an earlier piece and end in none are counted here."""
        if self._refused or self.transport.is_closing():
            return
        if self.is_idle and "header" not in self._timers:
            self._wait("header", self.limits.header_s, self._header_is_late)
        self._went_on = False
        super().data_received(data)
        if not self._went_on and not self._refused:
            self._raw_bytes += len(data)
            if self._raw_bytes > self.limits.header_bytes:
                self._refuse(self._header_error())

    def on_message_begin(self) -> None:
        """A request begins: nothing of its headers is counted yet."""
        super().on_message_begin()
        self._in_header, self._went_on, self._whole_bytes, self._raw_bytes = True, True, 0, 0

    def on_url(self, url: bytes) -> None:
        """Take a piece of the request's address."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a whole header."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer the request, or let it wait behind those that came before it."""
        self._in_header, self._went_on = False, True
        self._stop("header")
        if len(self.pipeline) >= self.limits.pipelined:
            self._too_large = True
            raise _TooLargeError
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body; what follows it is counted from nothing."""
        self._went_on, self._raw_bytes = True, 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._went_on = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for one; of an answer that is the last, no longer than it may take."""
        super().on_response_complete()
        self._bound_end()

    def shutdown(self) -> None:
        """End after the answer that is under way, or now."""
        super().shutdown()
        self._bound_end()

    def timeout_keep_alive_handler(self) -> None:
        """End a connection on which no further request came."""
        super().timeout_keep_alive_handler()
        self._bound_end()

    def pause_writing(self) -> None:
        """The client does not read: the answer waits for it, and not for ever."""
        super().pause_writing()
        self._wait("write", self.limits.write_s, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read, and the answer goes on."""
        self._stop("write")
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, or has too many headers."""
        malformed = ApiError(400, "what came is not a well-formed request of HTTP/1.1")
        self._refuse(self._header_error() if self._too_large else malformed)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _count(self, n_bytes: int) -> None:
        self._whole_bytes += n_bytes
        if self._whole_bytes > self.limits.header_bytes or len(self.headers) >= self.limits.headers:
            self._too_large = True
            raise _TooLargeError

    def _header_error(self) -> ApiError:
        most = self.limits
        return ApiError(
            431, f"the request has more than {most.headers} headers or {most.header_bytes:,} bytes of them",
            code="headers_too_large",
        )  # fmt: skip

    def _header_is_late(self) -> None:
        if not self._in_header:  # nothing came: there is no request to answer
            self.transport.abort()
            return
        late = f"the request's headers did not arrive within {self.limits.header_s:g} seconds"
        self._refuse(ApiError(408, late, code="request_timeout"))

    def _refuse(self, error: ApiError) -> None:
        """Answer with an error, and end the connection."""
        self._refused = True
        self._stop("header")
        running = self._running
        if running is not None and not running.response_complete:
            if running.response_started or running is not self.cycle:
                # Another answer is due before this one, which could not be told from it.
                self.transport.abort()
                return
            running.disconnected = True
            running.message_event.set()
        self._answer(error)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._wait("end", _LINGER_S, self.transport.abort)

    def _answer(self, error: ApiError) -> None:
        content = json.dumps(error.body).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(content)), "Connection": "close"}
        lines = [f"{name}: {value}\r\n".encode() for name, value in (headers | error.headers).items()]
        self.transport.write(b"".join([STATUS_LINE[error.status], *lines, b"\r\n", content]))

    def _bound_end(self) -> None:
        if self.transport.is_closing():
            self._wait("end", self.limits.write_s, self.transport.abort)

    def _wait(self, name: Literal["header", "write", "end"], seconds: float, then: Callable[[], None]) -> None:
        self._stop(name)
        self._timers[name] = self.loop.call_later(seconds, then)

    def _stop(self, name: Literal["header", "write", "end"]) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()
