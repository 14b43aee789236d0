"""From an application to a server: its address, its connections, and an orderly end."""

import asyncio
import contextlib
import errno
import ipaddress
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import FrameType

import uvicorn
from starlette.middleware.cors import CORSMiddleware

from puna.core.console import say, warn
from puna.core.errors import Interrupted, ServeError
from puna.serve.admission import Admission
from puna.serve.asgi import App
from puna.serve.connection import Connection
from puna.serve.edge import Edge
from puna.serve.keys import Keys
from puna.serve.limits import Limits
from puna.serve.metrics import Metrics

HOST, PORT = "127.0.0.1", 8000
"""Loopback: a server is for this machine alone until its owner says otherwise. The port of vLLM's server."""
GRACE_S = 30.0
"""What runs is finished within this time after a signal: Kubernetes' `terminationGracePeriodSeconds`."""


@dataclass(frozen=True)
class Settings:
    """How a server takes requests."""

    keys: Keys | None = None
    """Who may ask; None: anyone who reaches the address."""
    allow_hosts: tuple[str, ...] = ()
    """Names in the header Host besides addresses and this machine's name, as of a proxy that passes its own on."""
    allow_origins: tuple[str, ...] = ()
    """Sites whose pages may use the server from a browser: `https://chat.example.org`; `*` is every site."""
    grace_s: float = GRACE_S
    """Seconds that running requests have to end after the first signal."""
    limits: Limits = field(default_factory=Limits)
    """Bounds of what a client may take."""
    metrics: Metrics | None = None
    """Count the requests, also those that the limits refuse: `app.state.metrics` of `make_app`; None counts none."""


def bind(host: str = HOST, port: int = PORT) -> socket.socket:
    """A socket that listens at an address, before models are loaded: that it is taken is told at once.

    Args:
        host: A name or address of this machine; `0.0.0.0` or `::` for all.
        port: 0 for one that is free.

    Raises:
        ServeError: There is no such address here, it is in use, or only root may take it.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise ServeError(f"--host {host}: is not a name or an address of this machine") from None
    family, kind, protocol, _, address = sorted(found, key=lambda entry: entry[0] != socket.AF_INET)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # A machine that is switched off says nothing: ask after it, so that its requests end.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError as failure:
        listener.close()
        hint = "choose another with --port, or --port 0 for one that is free"
        if failure.errno == errno.EADDRNOTAVAIL:
            hint = "--host is an address of this machine: 127.0.0.1 for itself alone, 0.0.0.0 for all that it has"
        raise ServeError(f"cannot listen at {host} port {port}: {os.strerror(failure.errno or 0)}", hint=hint) from None
    listener.setblocking(False)
    return listener


def url_of(listener: socket.socket) -> str:
    """Where a browser finds a server that listens there: `http://127.0.0.1:8000`."""
    host, port = listener.getsockname()[:2]
    if (place := ipaddress.ip_address(host)).is_unspecified:
        host = "127.0.0.1" if place.version == 4 else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def guarded(app: App, settings: Settings) -> App:
    """The application within its limits: what `Server` serves."""
    app = Admission(app, settings.keys, settings.limits)
    if settings.allow_origins:
        app = CORSMiddleware(
            app, allow_origins=settings.allow_origins, allow_methods=["GET", "POST"],
            allow_headers=["*"],  # OpenAI's client in a browser says in ten of its own what it runs on
        )  # fmt: skip
    app = Edge(app, settings.allow_hosts)
    return app if settings.metrics is None else settings.metrics.counted(app)


class Server(uvicorn.Server):
    """A server that finishes what runs, and ends.

    In the main thread SIGINT, SIGTERM and SIGHUP end it, the latter unless it is ignored as under `nohup`: at the
    first, it takes no more connections and finishes what runs within `grace_s`; at the second it ends at once. In
    another thread `stop` does the first.

    Args:
        app: The routes, without limits.
        settings: Keys, hosts, limits, time to end.
    """

    def __init__(self, app: App, settings: Settings) -> None:
        limits = settings.limits
        super().__init__(
            uvicorn.Config(
                guarded(app, settings), http=Connection.within(limits), ws="none", lifespan="on", log_config=None,
                log_level="error", access_log=False, proxy_headers=False, server_header=False, interface="asgi3",
                timeout_keep_alive=int(limits.idle_s), timeout_graceful_shutdown=max(1, round(settings.grace_s)),
            )
        )  # fmt: skip
        self.signal: int | None = None
        """The number of the signal that ended it."""

    def serve_at(
        self, listener: socket.socket, models: AbstractAsyncContextManager[object] | None = None, line: str = ""
    ) -> None:
        """Serve until a signal, or `stop`, ends it; closes the socket.

        Args:
            listener: What `bind` gave; who connects before the models are loaded waits.
            models: Loaded in the server's event loop before it answers, and ended after it.
            line: Said when it answers.

        Raises:
            UserError: A model cannot be loaded.
            KeyboardInterrupt: SIGINT came while models were loaded.
            Interrupted: SIGTERM or SIGHUP did.
        """
        with listener, asyncio.Runner(loop_factory=self.config.get_loop_factory()) as runner:
            try:
                runner.run(self._serve_with(listener, models or contextlib.nullcontext(), line))
            except asyncio.CancelledError:
                if self.signal is None:
                    raise
                raise Interrupted(self.signal) from None

    async def _serve_with(
        self, listener: socket.socket, models: AbstractAsyncContextManager[object], line: str
    ) -> None:
        async with contextlib.AsyncExitStack() as loaded:
            with self._cancelled_by_signals():
                await loaded.enter_async_context(models)
            if line:
                say(line)
            await self.serve(sockets=[listener])

    @contextlib.contextmanager
    def _cancelled_by_signals(self) -> Iterator[None]:
        """While entered, SIGTERM and SIGHUP cancel the task at work, as SIGINT does by `asyncio.Runner`.

        What the event loop runs hears of no exception that a handler of Python raises in it.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
        if before[signal.SIGHUP] == signal.SIG_IGN:
            del before[signal.SIGHUP]

        def end(number: int) -> None:
            self.signal = number
            task.cancel()

        for number in before:
            loop.add_signal_handler(number, end, number)
        try:
            yield
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)

    def stop(self) -> None:
        """Begin the end, from any thread."""
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """While entered, signals end the server instead of the process."""
        numbers = [signal.SIGINT, signal.SIGTERM]
        try:
            if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
                numbers.append(signal.SIGHUP)
            before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        except ValueError:  # not the main thread, the only one that may
            yield
            return
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the end, or at a second signal, end."""
        again, self.should_exit, self.signal = self.should_exit, True, sig
        if again:
            self.force_exit = True
        else:  # said last: another signal may come as soon as somebody reads it
            say("finishing what runs; a second signal ends it at once")


def run(
    app: App, listener: socket.socket, settings: Settings, what: str,
    models: AbstractAsyncContextManager[object] | None = None,
) -> None:  # fmt: skip
    """Serve until a signal ends the process's work.

    Args:
        app: The routes.
        listener: What `bind` gave.
        settings: Keys, hosts, limits, time to end.
        what: The models' names, for the line that says where they are.
        models: As of `Server.serve_at`.

    Raises:
        UserError: A model cannot be loaded.
        KeyboardInterrupt: SIGINT ended it, in an orderly way.
        Interrupted: SIGTERM or SIGHUP did.
    """
    _warn_of_openness(listener, settings)
    server = Server(app, settings)
    server.serve_at(listener, models, f"{what} at {url_of(listener)} (Ctrl-C ends it)")
    if server.signal == signal.SIGINT:
        raise KeyboardInterrupt
    if server.signal is not None:
        raise Interrupted(server.signal)


def _warn_of_openness(listener: socket.socket, settings: Settings) -> None:
    host = listener.getsockname()[0]
    if not ipaddress.ip_address(host).is_loopback:
        if settings.keys is None:
            warn(f"anyone who reaches {host} can use the models: give a file of keys (--keys FILE)")
        else:
            warn(f"keys and texts go to {host} as they are: let a proxy with TLS stand before it")
    if "*" in settings.allow_origins and settings.keys is None:
        warn("--allow-origin '*' without --keys: every page that a browser of this machine opens can use the models")
