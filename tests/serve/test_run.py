"""A server's address, its warnings, and its end by signals in a process of its own."""

import asyncio
import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from listening import PATIENCE_S, all_of, listening, lived, until

from puna.core.errors import Interrupted, ServeError
from puna.core.terminate import orderly_end
from puna.serve.keys import Keys
from puna.serve.run import Settings, bind, run, url_of

PROGRAM = """
import asyncio, sys
from puna.core.terminate import orderly_end
from puna.serve.run import Settings, bind, run

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})
        return
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for number in range(int(scope["path"][1:])):
        await send({"type": "http.response.body", "body": b"%d\\n" % number, "more_body": True})
        await asyncio.sleep(0.02)
    await send({"type": "http.response.body"})

try:
    with orderly_end():
        run(app, bind(port=0), Settings(grace_s=float(sys.argv[1])), "model")
except KeyboardInterrupt:
    sys.exit(130)
except BaseException as ended:
    sys.exit(getattr(ended, "exit_code", 1))
"""


@contextlib.contextmanager
def program(grace_s: float = 60, *before: str) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """A server in a process of its own that counts, a line every 0.02 s, as far as the path says; its port."""
    command = [*before, sys.executable, "-c", PROGRAM, str(grace_s)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            found = re.fullmatch(r"model at http://127\.0\.0\.1:(\d+) \(Ctrl-C ends it\)\n", line)
            assert found, line
            yield process, int(found[1])
        finally:
            process.kill()


@contextlib.contextmanager
def _asked(port: int, count: int) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request("GET", f"/{count}")
        with connection.getresponse() as answer:
            yield answer


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=str
)
def test_a_signal_ends_the_server_after_what_runs(number: signal.Signals, code: int) -> None:
    with program() as (process, port), _asked(port, 30) as answer:
        assert answer.readline() == b"0\n"
        process.send_signal(number)
        assert answer.read().split() == [b"%d" % count for count in range(1, 30)]
        assert process.wait(PATIENCE_S) == code
        assert process.stderr is not None
        said = process.stderr.read()
        assert said.startswith("finishing what runs; a second signal ends it at once\n")
        assert "GET /30 200" in said
        assert "Traceback" not in said


def test_while_it_ends_no_connection_is_taken() -> None:
    with program() as (process, port), _asked(port, 1000) as answer:
        answer.readline()
        process.terminate()

        def refused() -> bool:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S).close()
            except OSError:
                return True
            return False

        until(refused)
        assert process.poll() is None
        assert answer.readline()


def test_a_second_signal_ends_it_at_once() -> None:
    with program() as (process, port), _asked(port, 1_000_000) as answer:
        answer.readline()
        process.terminate()
        assert process.stderr is not None
        assert process.stderr.readline().startswith("finishing")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130


def test_what_runs_longer_than_its_grace_is_cut_off() -> None:
    with program(1) as (process, port), _asked(port, 1_000_000) as answer:
        answer.readline()
        process.terminate()
        with contextlib.suppress(http.client.IncompleteRead, ConnectionResetError):
            answer.read()
        assert process.wait(PATIENCE_S) == 143


def test_a_server_that_the_terminals_end_must_not_end_goes_on() -> None:
    with program(60, "nohup") as (process, port):
        process.send_signal(signal.SIGHUP)
        with _asked(port, 3) as answer:
            assert answer.read() == b"0\n1\n2\n"
        process.terminate()
        assert process.wait(PATIENCE_S) == 143


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:"), ("localhost", "http://127.0.0.1:"), ("0.0.0.0", "http://127.0.0.1:")],
)
def test_an_address_is_one_that_a_browser_can_open(host: str, url: str) -> None:
    with bind(host, 0) as listener:
        assert url_of(listener) == f"{url}{listener.getsockname()[1]}"
        socket.create_connection(("127.0.0.1", listener.getsockname()[1]), timeout=PATIENCE_S).close()


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="no IPv6 here")
@pytest.mark.parametrize("host", ["::1", "::"])
def test_an_address_of_ipv6_is_in_brackets(host: str) -> None:
    with bind(host, 0) as listener:
        assert url_of(listener) == f"http://[::1]:{listener.getsockname()[1]}"


def test_an_address_that_is_taken_or_elsewhere_is_one_sentence() -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ServeError, match=rf"cannot listen at 127\.0\.0\.1 port {port}: Address already in use"
        ) as caught:
            bind("127.0.0.1", port)
        assert "--port" in caught.value.hint
    with pytest.raises(ServeError, match=r"cannot listen at 192\.0\.2\.1 port 0: Cannot assign") as caught:
        bind("192.0.2.1", 0)
    assert "--host" in caught.value.hint
    for host in ("no such host", "x" * 300, "a\0b"):
        with pytest.raises(ServeError, match="is not a name or an address of this machine"):
            bind(host, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=str)
def test_a_signal_ends_it_while_a_model_is_loaded(number: signal.Signals) -> None:
    """As `puna.cli` runs it, where a handler would raise wherever Python is just then."""
    ended: list[str] = []

    class Models:
        async def __aenter__(self) -> None:
            os.kill(os.getpid(), number)
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("loading")

        async def __aexit__(self, *error: object) -> None:
            ended.append("never entered")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("it answered")

    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with pytest.raises((KeyboardInterrupt, Interrupted)) as caught, orderly_end():
        run(app, bind(port=0), Settings(), "model", Models())
    assert ended == ["loading"]
    assert isinstance(caught.value, KeyboardInterrupt) == (number == signal.SIGINT)
    assert number == signal.SIGINT or caught.value.exit_code == 128 + number
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def _said(host: str, settings: Settings, capfd: pytest.CaptureFixture[str]) -> str:
    """What `run` says of an application that ends the server as soon as it has begun."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        asyncio.get_running_loop().call_later(0, os.kill, os.getpid(), signal.SIGINT)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    with pytest.raises(KeyboardInterrupt):
        run(app, bind(host, 0), settings, "model")
    return capfd.readouterr().err


def test_a_server_that_others_can_reach_warns(capfd: pytest.CaptureFixture[str]) -> None:
    keys = Keys({"alice": "alices-secret-key-1"})
    assert "warning" not in _said("127.0.0.1", Settings(), capfd)
    assert "anyone who reaches 0.0.0.0 can use the models: give a file of keys" in _said("0.0.0.0", Settings(), capfd)
    with_keys = _said("0.0.0.0", Settings(keys=keys), capfd)
    assert "anyone" not in with_keys
    assert "let a proxy with TLS stand before it" in with_keys
    every = Settings(allow_origins=("*",))
    assert "every page that a browser of this machine opens can use the models" in _said("127.0.0.1", every, capfd)


def test_an_application_that_fails_is_told_without_its_reason() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if await lived(scope, receive, send):
            return
        raise ValueError("a secret")

    with listening(app) as server:
        raw = server.exchange(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert raw.startswith(b"HTTP/1.1 500")
        assert b"secret" not in raw


def test_connections_that_wait_for_nothing_do_not_delay_the_end() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})

    with listening(app, Settings(grace_s=PATIENCE_S)) as server, server.connect() as idle:
        until(lambda: len(server.server.server_state.connections) == 1)
        server.server.stop()
        assert all_of(idle) == b""
