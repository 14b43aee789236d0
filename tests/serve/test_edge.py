"""Hosts, headers for browsers, and lines of the log, over a real connection."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from listening import Listening, answer_of, listening, lived

from puna.serve.keys import Keys
from puna.serve.run import Settings

KEY = "alices-secret-key-1"


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers with what it was sent, as a page of its own if that is its path."""
    if await lived(scope, receive, send):
        return
    message = await receive()
    own = [(b"content-security-policy", b"default-src 'self'"), (b"cache-control", b"max-age=60")]
    await send({"type": "http.response.start", "status": 200, "headers": own if scope["path"] == "/" else []})
    await send({"type": "http.response.body", "body": b'"' + message["body"] + b'"'})


@pytest.fixture(scope="module")
def server() -> Iterator[Listening]:
    with listening(echo, Settings(allow_hosts=("chat.example.org",))) as started:
        yield started


def _got(server: Listening, *, host: str | None = "127.0.0.1", path: str = "/x", more: str = "") -> Any:
    lines = f"GET {path} HTTP/1.1\r\n" + ("" if host is None else f"Host: {host}\r\n")
    raw = server.exchange(f"{lines}{more}Connection: close\r\n\r\n".encode("latin-1"))
    head, _, body = raw.partition(b"\r\n\r\n")
    return answer_of(head + b"\r\n\r\n" + (body if body.startswith(b"{") else b""))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.0.0.1:8000", "localhost", "LOCALHOST:8000", "localhost.", "[::1]:8000", "10.1.2.3",
        "a.localhost", "Chat.Example.org", socket.gethostname(),
    ],
)  # fmt: skip
def test_addresses_this_machines_name_and_allowed_names_are_taken(host: str, server: Listening) -> None:
    assert _got(server, host=host)[0] == 200


@pytest.mark.parametrize(
    ("host", "status", "code"),
    [
        ("evil.example", 403, "host_not_allowed"),
        ("evil.example:8000", 403, "host_not_allowed"),
        ("127.0.0.1.evil.example", 403, "host_not_allowed"),
        ("localhost.evil.example", 403, "host_not_allowed"),
        ("notlocalhost", 403, "host_not_allowed"),
        ("127.1", 403, "host_not_allowed"),
        ("", 400, "invalid_host"),
        (None, 400, "invalid_host"),
        ("127.0.0.1\r\nHost: evil.example", 400, "invalid_host"),
        ("127.0.0.1@evil.example:80:80", 400, "invalid_host"),
        ("localhost:999999", 400, "invalid_host"),
    ],
)
def test_another_site_that_leads_to_this_address_is_refused(
    host: str | None, status: int, code: str, server: Listening
) -> None:
    got, _, body = _got(server, host=host)
    assert (got, body["error"]["code"]) == (status, code)


def test_every_answer_has_headers_for_browsers_and_a_page_keeps_its_own() -> None:
    with listening(echo, Settings(keys=Keys({"alice": KEY}))) as server:
        for path, status in (("/v1/models", 401), ("/health", 200), ("/", 200)):
            got, headers, _ = _got(server, path=path)
            assert got == status
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            own = path == "/"
            assert headers["cache-control"] == ("max-age=60" if own else "no-store")
            assert headers["content-security-policy"].startswith(f"default-src '{'self' if own else 'none'}'")
            assert "server" not in headers
            assert not any(name.startswith("access-control") for name in headers)


def test_only_an_allowed_origin_may_read_answers_and_asks_without_a_key_first() -> None:
    origin = "https://chat.example.org"
    headers = "authorization, content-type, x-stainless-lang"  # the last as OpenAI's client sends it
    ask = f"Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: {headers}\r\n"
    with listening(echo, Settings(keys=Keys({"alice": KEY}), allow_origins=(origin,))) as server:
        for sent, allowed in ((origin, origin), ("https://evil.example", None), ("null", None)):
            lines = f"Host: localhost\r\nOrigin: {sent}\r\n{ask}Connection: close\r\n"
            raw = server.exchange(f"OPTIONS /v1/models HTTP/1.1\r\n{lines}\r\n".encode())
            assert raw.startswith(b"HTTP/1.1 200" if allowed else b"HTTP/1.1 400"), raw
            assert (f"access-control-allow-origin: {origin}".encode() in raw) == (allowed is not None)
            got, found, _ = _got(server, more=f"Origin: {sent}\r\n")
            assert (got, found.get("access-control-allow-origin")) == (401, allowed)


def test_a_line_of_the_log_names_the_caller_and_no_text_nor_key(capfd: pytest.CaptureFixture[str]) -> None:
    bearer = f"Authorization: Bearer {KEY}\r\n"
    with listening(echo, Settings(keys=Keys({"alice": KEY}))) as server:
        _got(server, path=f"/v1/models?key={KEY}", more=bearer)
        _got(server, path="/v1/%1b%5b31m%0aforged", more=bearer)
        _got(server, path="/wrong", more="Authorization: Bearer canary-canary-canary\r\n")
        _got(server, path="/health")
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(line[10] == "T" and line[19] == "Z" for line in lines)
    words = [line.split()[1:5] + line.split()[5:6] for line in lines]
    assert words[0] == ["127.0.0.1", "alice", "GET", "/v1/models", "200"]
    assert words[1] == ["127.0.0.1", "alice", "GET", r"/v1/\x1b[31m\nforged", "200"]
    assert words[2] == ["127.0.0.1", "-", "GET", "/wrong", "401"]
    assert KEY not in "".join(lines)
    assert "canary" not in "".join(lines)
