"""What a request must have before a route hears of it, called as ASGI calls it."""

import asyncio
import json
from typing import Any

import pytest

from puna.serve.admission import Admission
from puna.serve.asgi import Message
from puna.serve.keys import Keys
from puna.serve.limits import Limits

KEY = "alices-secret-key-1"


class Asked:
    """One call of an application: what the client sends piece by piece, and what it gets."""

    def __init__(self, *pieces: Message, path: str = "/v1/models", headers: dict[str, str] | None = None) -> None:
        raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        self.scope: dict[str, Any] = {"type": "http", "method": "POST", "path": path, "headers": raw}
        self._pieces = list(pieces)
        self.sent: list[Message] = []

    async def _receive(self) -> Message:
        if not self._pieces:
            await asyncio.Event().wait()
        return self._pieces.pop(0)

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    async def of(self, app: Any) -> "Asked":
        await app(self.scope, self._receive, self._send)
        return self

    @property
    def status(self) -> int:
        return self.sent[0]["status"]

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(b"".join(message.get("body", b"") for message in self.sent[1:]))["error"]


class Routes:
    """An application that notes what reaches it."""

    def __init__(self, wait: asyncio.Event | None = None) -> None:
        self.seen: list[tuple[str, bytes]] = []
        self._wait = wait

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        assert not message["more_body"]
        self.seen.append((scope["puna.caller"].name, message["body"]))
        if self._wait is not None:
            await self._wait.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})


def piece(body: bytes, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def asked(app: Any, *pieces: Message, **named: Any) -> Asked:
    return asyncio.run(Asked(*pieces, **named).of(app))


def test_a_body_comes_to_the_routes_whole() -> None:
    routes = Routes()
    done = asked(Admission(routes, None, Limits()), piece(b'{"a"', more=True), piece(b"", more=True), piece(b": 1}"))
    assert done.status == 200
    assert routes.seen == [("anyone", b'{"a": 1}')]


def test_after_the_body_a_route_hears_that_the_client_has_gone() -> None:
    heard = []

    async def route(scope: Any, receive: Any, send: Any) -> None:
        heard.extend([await receive(), await receive()])

    asked(Admission(route, None, Limits()), piece(b"x"), {"type": "http.disconnect"})
    assert [message["type"] for message in heard] == ["http.request", "http.disconnect"]


def test_a_client_that_goes_before_its_body_is_complete_reaches_no_route() -> None:
    routes = Routes()
    done = asked(Admission(routes, None, Limits()), piece(b"x", more=True), {"type": "http.disconnect"})
    assert (routes.seen, done.sent) == ([], [])


@pytest.mark.parametrize(
    ("pieces", "headers"),
    [
        ([piece(b"x" * 11)], {}),
        ([piece(b"x" * 6, more=True), piece(b"x" * 5, more=True), piece(b"x" * 50)], {}),
        ([piece(b"")], {"content-length": "11"}),
        ([piece(b"")], {"content-length": "1000000000"}),
    ],
)
def test_a_body_that_is_too_large_is_refused_as_soon_as_that_is_known(
    pieces: list[Message], headers: dict[str, str]
) -> None:
    routes = Routes()
    done = asked(Admission(routes, None, Limits(body_bytes=10)), *pieces, headers=headers)
    assert done.status == 413
    assert done.error["message"] == "the request's body has more than 10 bytes"
    assert routes.seen == []


def test_a_body_as_large_as_it_may_be_is_taken() -> None:
    done = asked(Admission(Routes(), None, Limits(body_bytes=10)), piece(b"x" * 10), headers={"content-length": "10"})
    assert done.status == 200


def test_a_body_that_does_not_end_in_its_time_is_refused() -> None:
    done = asked(Admission(Routes(), None, Limits(body_s=0.01)), piece(b"x", more=True))
    assert (done.status, done.error["code"]) == (408, "request_timeout")


def test_bodies_that_together_are_too_large_wait_for_each_other() -> None:
    async def both() -> None:
        go_on = asyncio.Event()
        app = Admission(Routes(go_on), None, Limits(bodies_bytes=15))
        first = asyncio.create_task(Asked(piece(b"x" * 10)).of(app))
        await asyncio.sleep(0)
        refused = await Asked(piece(b"x" * 10)).of(app)
        assert (refused.status, refused.error["message"]) == (
            503,
            "the server holds as many bytes of requests as it may",
        )
        assert (await Asked(piece(b"x" * 5), path="/health").of(Admission(Routes(), None, Limits()))).status == 200
        go_on.set()
        assert (await first).status == 200
        assert (await Asked(piece(b"x" * 10)).of(app)).status == 200

    asyncio.run(both())


def test_no_key_takes_all_the_room_of_bodies_and_who_has_none_takes_none() -> None:
    async def three() -> None:
        go_on = asyncio.Event()
        app = Admission(Routes(go_on), Keys({"alice": KEY, "bob": "bobs-secret-key-22"}), Limits(bodies_bytes=20))
        alice, bob = ({"authorization": f"Bearer {key}"} for key in (KEY, "bobs-secret-key-22"))
        first = asyncio.create_task(Asked(piece(b"x" * 10), headers=alice).of(app))
        await asyncio.sleep(0)
        refused = await Asked(piece(b"x"), headers=alice).of(app)
        assert (refused.status, refused.error["message"]) == (429, "this key's requests hold as many bytes as they may")
        for announced in ({"content-length": "1"}, {"transfer-encoding": "chunked"}):
            unread = await Asked(piece(b"x"), path="/health", headers=announced).of(app)
            assert (unread.status, unread.error["message"]) == (413, "a request for this path has no body")
        other = asyncio.create_task(Asked(piece(b"x" * 10), headers=bob).of(app))
        await asyncio.sleep(0)
        go_on.set()
        assert [(await task).status for task in (first, other)] == [200, 200]
        assert (await Asked(piece(b"x" * 10), headers=alice).of(app)).status == 200

    asyncio.run(three())


def test_only_a_key_opens_the_routes_and_its_name_reaches_them() -> None:
    routes = Routes()
    app = Admission(routes, Keys({"alice": KEY}), Limits())
    for path in (
        "/v1/models",
        "/v1/chat/completions",
        "/metrics",
        "/nothing",
        "//",
        "/health/",
        "/page",
        "/v1/../health",
    ):
        refused = asked(app, piece(b""), path=path)
        assert (refused.status, refused.error["type"]) == (401, "authentication_error"), path
        assert (b"WWW-Authenticate", b"Bearer") in refused.sent[0]["headers"]
    assert routes.seen == []
    assert asked(app, piece(b"x"), headers={"authorization": f"Bearer {KEY}"}).status == 200
    assert [asked(app, piece(b""), path=path).status for path in ("/", "/health", "/ready", "/page/app.js")] == [
        200
    ] * 4
    assert [name for name, _ in routes.seen] == ["alice", "anyone", "anyone", "anyone", "anyone"]


def test_a_key_that_has_as_many_requests_as_it_may_is_told_when_to_try_again() -> None:
    async def two() -> None:
        go_on = asyncio.Event()
        app = Admission(Routes(go_on), Keys({"alice": KEY}), Limits(requests_at_once=1))
        headers = {"authorization": f"Bearer {KEY}"}
        first = asyncio.create_task(Asked(piece(b""), headers=headers).of(app))
        await asyncio.sleep(0)
        refused = await Asked(piece(b""), headers=headers).of(app)
        assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
        assert (b"Retry-After", b"1") in refused.sent[0]["headers"]
        go_on.set()
        assert (await first).status == 200
        assert (await Asked(piece(b""), headers=headers).of(app)).status == 200

    asyncio.run(two())


def test_a_refused_body_is_read_and_thrown_away_before_the_connection_ends() -> None:
    rest = [piece(b"x" * 9, more=True), piece(b"x" * 9, more=True), piece(b"")]
    done = asked(Admission(Routes(), None, Limits(body_bytes=10)), *rest, headers={"content-length": "18"})
    assert (b"Connection", b"close") in done.sent[0]["headers"]
    assert [message.get("more_body", False) for message in done.sent[1:]] == [True, False]
