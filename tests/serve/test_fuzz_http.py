"""Bytes that are nearly HTTP, by hypothesis: each gets an error or none, and the server goes on."""

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from listening import Listening, all_of, listening, lived, until

from puna.serve.keys import Keys
from puna.serve.limits import Limits
from puna.serve.run import Settings

KEY = "alices-secret-key-1"
KNOWN = (200, 400, 401, 403, 408, 413, 431, 503)

_words = st.sampled_from([
    "GET", "POST", "HEAD", "OPTIONS", "CONNECT", "TRACE", "PRI", "get", "", "G\tT", "A" * 300, "/", "*", "/x", "//",
    "/%00", "/%zz", "/\u00e9", "http://a/b", "a:80", "/?" + "q" * 99, "/" + "../" * 30, "HTTP/1.1", "HTTP/1.0",
    "HTTP/2.0", "HTTP/0.9",
])  # fmt: skip
_headers = st.sampled_from([
    "Host: localhost", "Host: [::1", "Host: a b", "Host:", "Host: evil.example", "Content-Length: 0",
    "Content-Length: 3", "Content-Length: 33", "Content-Length: 99999999999999999999", "Content-Length: +3",
    "Content-Length: 0x3",
    "Content-Length: 3, 3", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: identity", "Transfer-Encoding: xchunked", "Transfer-Encoding : chunked", "Connection: close",
    "Connection: keep-alive, Upgrade", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "Upgrade: websocket",
    "Expect: 100-continue", "Expect: x", f"Authorization: Bearer {KEY}", "Authorization: Bearer", "Origin: null",
    "Authorization: Basic Og==", " folded", ":", "x", "X: \x00", "X: \x7f\x80", "Content-Type: application/json",
    "Cookie: " + "c=1; " * 50,
])  # fmt: skip
_bodies = st.binary(max_size=40) | st.sampled_from([
    b"", b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"fffffffffffffffff\r\n", b"-1\r\n", b"3;a=b\r\nab",
])  # fmt: skip


@st.composite
def _requests(draw: st.DrawFn) -> bytes:
    """A request of which each part may be wrong, perhaps with another behind it, and perhaps cut."""
    whole = b""
    for _ in range(draw(st.integers(1, 3))):
        first = draw(st.just("POST /x HTTP/1.1") | st.lists(_words, min_size=1, max_size=4).map(" ".join))
        ends = draw(st.sampled_from(["\r\n", "\r\n", "\r\n", "\n", "\r"]))
        lines = [first, *(["Host: localhost"] if draw(st.booleans()) else []), *draw(st.lists(_headers, max_size=6))]
        whole += ends.join([*lines, "", ""]).encode("latin-1", "replace") + draw(_bodies)
    return whole[: draw(st.integers(1, len(whole)))] if draw(st.integers(0, 3)) == 0 else whole


@pytest.fixture(scope="module")
def server() -> Iterator[Listening]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if await lived(scope, receive, send):
            return
        body = (await receive())["body"]
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    limits = Limits(header_s=0.02, body_s=0.02, idle_s=1)
    with listening(app, Settings(keys=Keys({"alice": KEY}), limits=limits)) as started:
        yield started


# A fixed seed: what is found here becomes an example of its own in test_connection.py.
@settings(max_examples=300, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(sent=st.one_of(_requests(), st.binary(max_size=200)), closes=st.booleans())
def test_bytes_that_are_nearly_http_get_answers_of_http_or_none(server: Listening, sent: bytes, closes: bool) -> None:
    with server.connect() as connection:
        with contextlib.suppress(OSError):  # the server may have ended it before all was sent
            connection.sendall(sent)
            if closes:
                connection.shutdown(socket.SHUT_WR)
        raw = all_of(connection)
    while raw:
        head, end, raw = raw.partition(b"\r\n\r\n")
        assert end
        version, status, *_ = head.split(b" ")
        assert version == b"HTTP/1.1"
        if status == b"100":
            continue
        assert int(status) in KNOWN, head
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: "))
        n_bytes = int(length.removeprefix(b"content-length: "))
        # The answer to HEAD has no body; that to what only begins like it, before it could be read, has.
        if b"HEAD" not in sent or raw[:1] == b"{":
            raw = raw[n_bytes:]


def test_after_all_that_the_server_answers_and_holds_no_connection(server: Listening) -> None:
    headers = f"Host: localhost\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 3\r\nConnection: close\r\n"
    request = f"POST /x HTTP/1.1\r\n{headers}\r\nabc".encode()

    def answers() -> bool:
        with contextlib.suppress(OSError):  # its time for headers is so short that this thread may be too late
            return server.exchange(request).endswith(b"\r\n\r\nabc")
        return False

    until(answers)
    until(lambda: not server.server.server_state.connections)
