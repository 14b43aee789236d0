"""Raw connections: what is too much or too slow gets an error, and ends; who goes is noticed."""

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from listening import Listening, all_of, answer_of, first_of, listening, lived, until

from puna.serve.limits import Limits
from puna.serve.run import Settings

GET = b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAST = b"GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Routes:
    """An application that can hold its answers, writes much, and notes whose client has gone."""

    def __init__(self) -> None:
        self.gone: list[str] = []
        self.asked: list[str] = []
        self.paths_that_wait = {"/wait"}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if await lived(scope, receive, send):
            return
        path = scope["path"]
        self.asked.append(path)
        await receive()
        if path in self.paths_that_wait:
            assert (await receive())["type"] == "http.disconnect"
            self.gone.append(path)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if path == "/much":
            for _ in range(4096):
                await send({"type": "http.response.body", "body": b"x" * (1 << 16), "more_body": True})
        await send({"type": "http.response.body", "body": b"{}"})


@contextlib.contextmanager
def served(**limits: Any) -> Iterator[tuple[Listening, Routes]]:
    routes = Routes()
    with listening(routes, Settings(limits=Limits(**limits))) as server:
        yield server, routes


@pytest.fixture(scope="module")
def server() -> Iterator[Listening]:
    with served(header_bytes=2000, headers=20) as (started, _):
        yield started


def _with(*headers: str) -> bytes:
    return ("GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + "".join(headers) + "\r\n").encode()


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(_with(*(f"X-{n}: 1\r\n" for n in range(19))), id="one_too_many"),
        pytest.param(_with(*(f"X-{n}: 1\r\n" for n in range(10_000))), id="10000"),
        pytest.param(_with(f"X: {'x' * 2001}\r\n"), id="long_value"),
        pytest.param(_with(f"{'x' * 2001}: 1\r\n"), id="long_name"),
        pytest.param(b"GET /" + b"x" * 2001 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", id="long_path"),
        pytest.param(b"GET /x HTTP/1.1\r\nX: " + b"x" * 10_000_000, id="without_end"),
    ],
)
def test_headers_that_are_too_many_or_too_long_are_refused(sent: bytes, server: Listening) -> None:
    with server.connect() as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(sent)
        status, headers, body = answer_of(all_of(connection))
    assert (status, headers["connection"], body["error"]["code"]) == (431, "close", "headers_too_large")
    assert body["error"]["message"] == "the request has more than 20 headers or 2,000 bytes of them"


def test_trailers_without_end_are_refused_before_they_fill_the_memory(server: Listening) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(b"x" * 10_000_000)
        status, headers, body = answer_of(all_of(connection))
    assert (status, headers["connection"], body["error"]["code"]) == (431, "close", "headers_too_large")


def test_a_body_of_many_small_chunks_counts_as_no_headers() -> None:
    with served(header_bytes=100) as (server, routes), server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(LAST.replace(b"GET", b"POST")[:-2] + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            connection.sendall(b"1\r")
            connection.sendall(b"\nx")
            connection.sendall(b"\r\n")
        connection.sendall(b"0\r\n\r\n")
        assert all_of(connection).startswith(b"HTTP/1.1 200")
        assert routes.asked == ["/x"]


def test_a_connection_with_too_many_requests_that_wait_is_cut_off() -> None:
    with served(pipelined=3) as (server, routes):
        wait = GET.replace(b"/x", b"/wait")
        with server.connect() as connection:
            connection.sendall(wait + GET * 4)
            assert all_of(connection) == b""
        until(lambda: routes.gone == routes.asked)
        assert server.exchange(GET * 3 + LAST).count(b"HTTP/1.1 200") == 4


def test_headers_within_their_bounds_are_taken_also_byte_by_byte(server: Listening) -> None:
    # Host and Connection are two of the 20.
    sent = _with(f"X: {'x' * 1800}\r\n", *(f"X-{n}: 1\r\n" for n in range(17)))
    assert answer_of(server.exchange(sent).replace(b"2\r\n{}\r\n0\r\n\r\n", b"{}"))[0] == 200
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in sent:
            connection.sendall(bytes([byte]))
        assert all_of(connection).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /x HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"POST /x HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        b"GET /x HTTP/1.1\r\nA\x00: b\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_and_ends(sent: bytes, server: Listening) -> None:
    status, headers, body = answer_of(server.exchange(sent))
    assert (status, headers["connection"]) == (400, "close")
    assert body["error"]["type"] == "invalid_request_error"


def test_a_connection_on_which_nothing_comes_ends_without_an_answer() -> None:
    with served(header_s=0.05) as (server, _), server.connect() as connection:
        assert all_of(connection) == b""


@pytest.mark.parametrize("before", [b"", GET])
def test_headers_that_do_not_end_are_refused_after_their_time(before: bytes) -> None:
    with served(header_s=1) as (server, _), server.connect() as connection:
        if before:
            connection.sendall(before)
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /x HTTP/1.1\r\nX: ")
        status, _, body = answer_of(all_of(connection).removeprefix(b"2\r\n{}\r\n0\r\n\r\n"))
        assert (status, body["error"]["code"]) == (408, "request_timeout")


def test_requests_in_a_row_on_one_connection_are_answered_in_order_and_keep_it_past_the_headers_time() -> None:
    with served(header_s=1) as (server, routes):
        assert server.exchange(GET * 100 + LAST).count(b"HTTP/1.1 200") == 101
        assert len(routes.asked) == 101
        with server.connect() as connection:
            connection.sendall(GET)
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
            threading.Event().wait(1.5)
            connection.sendall(LAST)
            assert b"HTTP/1.1 200" in all_of(connection)


@pytest.mark.parametrize("behind", [b"", GET, GET * 3 + b"GET /y HTTP/1.1\r\nX: "])
def test_a_route_hears_that_its_client_has_gone_also_with_requests_behind_it(behind: bytes) -> None:
    with served() as (server, routes):
        with server.connect() as connection:
            connection.sendall(GET.replace(b"/x", b"/wait") + behind)
            until(lambda: routes.asked == ["/wait"])
            # A reset, as of a client that was killed with data unread.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        until(lambda: routes.gone == ["/wait"])
        assert server.exchange(LAST).startswith(b"HTTP/1.1 200")
        assert routes.asked == ["/wait", "/x"]


def test_a_client_that_does_not_read_is_cut_off() -> None:
    with served(write_s=0.1) as (server, _), server.connect() as connection:
        connection.sendall(GET.replace(b"/x", b"/much"))
        until(lambda: len(server.server.server_state.connections) == 1)
        until(lambda: not server.server.server_state.connections)
        assert len(all_of(connection)) < 4096 << 16


def test_a_client_that_reads_slowly_gets_everything() -> None:
    with served(write_s=10.0) as (server, _), server.connect() as connection:
        connection.sendall(LAST.replace(b"/x", b"/much"))
        assert len(all_of(connection)) > 4096 << 16


def test_an_answer_that_is_not_read_does_not_keep_a_connection_that_ends() -> None:
    """It fits the buffers, so that nothing waits to be written but the end itself."""
    with served(write_s=0.1, idle_s=1) as (server, _):
        connections = [server.connect() for _ in range(3)]
        for connection in connections:
            connection.sendall(GET)
        until(lambda: len(server.server.server_state.connections) == 3)
        until(lambda: not server.server.server_state.connections)
        for connection in connections:
            connection.close()


def test_connections_that_wait_for_nothing_are_closed_for_new_ones() -> None:
    with served(connections=3) as (server, routes), contextlib.ExitStack() as opened:
        silent = [opened.enter_context(server.connect()) for _ in range(3)]
        until(lambda: len(server.server.server_state.connections) == 3)
        for number in range(10):
            assert server.exchange(LAST).startswith(b"HTTP/1.1 200"), number
        assert len(routes.asked) == 10
        ended, _, _ = select.select(silent, [], [], 0)
        assert ended
        assert all(all_of(connection) == b"" for connection in ended)


def test_a_connection_too_many_is_told_so_where_all_have_requests() -> None:
    with served(connections=2) as (server, routes), contextlib.ExitStack() as opened:
        for connection in [opened.enter_context(server.connect()) for _ in range(2)]:
            connection.sendall(GET.replace(b"/x", b"/wait"))
        until(lambda: len(routes.asked) == 2)
        with server.connect() as third:
            status, headers, body = answer_of(all_of(third))
        assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
        assert body["error"]["message"] == "the server has as many connections as it may"
        assert routes.gone == []


def test_a_gigabyte_is_refused_before_it_is_sent(server: Listening) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1073741824\r\n\r\n")
        sent = 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while sent < 64 << 20:
                sent += connection.send(b"x" * (1 << 20))
        status, _, body = answer_of(first_of(connection))
    assert (status, body["error"]["code"]) == (413, "request_too_large")


def test_a_body_that_stops_is_refused_after_its_time() -> None:
    with served(body_s=0.05) as (server, routes), server.connect() as connection:
        connection.sendall(b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nxxx")
        status, _, body = answer_of(first_of(connection))
        assert (status, body["error"]["code"]) == (408, "request_timeout")
        assert routes.asked == []
