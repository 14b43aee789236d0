"""A server whose model has a process of its own, and clients that mean harm or go wrong: others are served on."""

import contextlib
import http.client
import json
import os
import signal
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from listening import PATIENCE_S, Listening, all_of, answer_of, first_of, listening, until
from serving import FakeLoader

from puna.serve.app import make_app
from puna.serve.engine_client import EngineClient, EngineLimits
from puna.serve.keys import Keys
from puna.serve.limits import Limits
from puna.serve.models import Models
from puna.serve.run import Settings

KEYS = {"alice": "alices-secret-key-1", "bob": "bobs-secret-key-number-2"}
QUEUE = 4


class Attacked:
    """A server under attack, and the model's process behind it."""

    def __init__(self, server: Listening, model: EngineClient) -> None:
        self.server, self.model = server, model

    def request(self, body: Any, *, key: str = "alice", path: str = "/v1/completions", close: bool = True) -> bytes:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [
            f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json",
            f"Authorization: Bearer {KEYS[key]}", f"Content-Length: {len(content)}",
            *(["Connection: close"] if close else []), "", "",
        ]  # fmt: skip
        return "\r\n".join(lines).encode() + content

    def ask(self, body: Any, **named: Any) -> tuple[int, dict[str, str], Any]:
        return answer_of(self.server.exchange(self.request(body, **named)))

    def is_well(self) -> bool:
        return self.ask({"prompt": "a", "max_tokens": 2})[0] == 200

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """While entered, the model's process stands still."""
        pid = self.model.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):  # it may have been killed meanwhile
                os.kill(pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def attacked() -> Iterator[Attacked]:
    model = EngineClient("fake", FakeLoader(), EngineLimits(queue=QUEUE))
    models = Models([model])
    settings = Settings(keys=Keys(KEYS), limits=Limits(write_s=0.2, requests_at_once=11))
    with listening(make_app(models), settings, models) as server:
        yield Attacked(server, model)


def test_a_full_queue_is_told_with_a_time_and_what_was_taken_is_answered(attacked: Attacked) -> None:
    with contextlib.ExitStack() as opened:
        held = [opened.enter_context(attacked.server.connect()) for _ in range(11)]
        with attacked.busy():
            for connection in held:
                connection.sendall(attacked.request({"prompt": "a", "max_tokens": 4}))
            until(lambda: attacked.model.waiting == QUEUE)
            # Seven of a key's run, and four wait. The twelfth is one too many of the key, whatever the queue has.
            status, headers, body = attacked.ask({"prompt": "a"})
            assert (status, body["error"]["code"], "retry-after" in headers) == (429, "rate_limit_exceeded", True)
        answers = [answer_of(all_of(connection)) for connection in held]
    statuses = [status for status, _, _ in answers]
    assert set(statuses) <= {200, 429, 503}
    assert statuses.count(200) >= QUEUE
    assert all(headers["retry-after"] for status, headers, _ in answers if status != 200)
    assert attacked.is_well()


def test_one_key_that_fills_the_queue_does_not_keep_out_another(attacked: Attacked) -> None:
    with contextlib.ExitStack() as opened:
        held = [opened.enter_context(attacked.server.connect()) for _ in range(12)]
        with attacked.busy():
            for connection in held[:11]:
                connection.sendall(attacked.request({"prompt": "a", "max_tokens": 4}))
            until(lambda: attacked.model.waiting == QUEUE)
            held[11].sendall(attacked.request({"prompt": "a", "max_tokens": 4}, key="bob"))
            until(lambda: attacked.model.running == 8)
        assert answer_of(all_of(held[11]))[0] == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": [5] * 257},
        {"prompt": "a " * 100_000},
        {"prompt": ["a", "a " * 100_000]},
        {"prompt": "a", "max_tokens": 10**18},
        {"prompt": [2**31]},
        {"prompt": [-1]},
        {"prompt": [999_999]},
        {"prompt": "a", "n": 10**6},
    ],
)
def test_more_than_the_model_can_read_or_write_is_the_clients_error(attacked: Attacked, fields: dict[str, Any]) -> None:
    status, _, body = attacked.ask(fields)
    assert status == 400
    assert len(body["error"]["message"]) < 500
    assert attacked.is_well()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * 1_000_000, id="depth"),
        pytest.param(b'{"prompt": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", id="nested"),
        pytest.param(b'{"prompt": "a", "seed": ' + b"9" * 1_000_000 + b"}", id="digits"),
        pytest.param(b'{"prompt": "a", "temperature": NaN}', id="nan"),
        pytest.param(b'{"prompt": "a", "temperature": 1e999}', id="infinite"),
        pytest.param(b'{"prompt": "\\ud800"}', id="half"),
        pytest.param(b'{"prompt": "\xed\xa0\x80"}', id="half_bytes"),
        pytest.param(b'{"' + b"x" * 5_000_000 + b'": 1}', id="name"),
        pytest.param(b'{"prompt": "a", "stop": ["' + b"x" * 5_000_000 + b'"]}', id="stop"),
        pytest.param(b'{"prompt": [' + b"1," * 2_000_000 + b"1]}", id="ids"),
        pytest.param(b"{" + b",".join(b'"k%d":1' % n for n in range(100_000)) + b"}", id="names"),
        pytest.param(b'{"logit_bias": {' + b",".join(b'"%d":1' % n for n in range(99_999)) + b"}}", id="bias"),
    ],
)
def test_json_that_programs_stumble_over_is_refused_and_keeps_nobody_waiting(attacked: Attacked, body: bytes) -> None:
    status, _, answer = attacked.ask(body)
    assert status == 400
    assert len(json.dumps(answer)) < 1000
    assert attacked.is_well()


def test_a_client_that_is_killed_frees_what_it_had(attacked: Attacked) -> None:
    for behind in (b"", attacked.request({"prompt": "a", "max_tokens": 1}, close=False)):
        with attacked.busy():  # so that no text ends by itself
            with contextlib.ExitStack() as opened:
                for _ in range(8):
                    connection = opened.enter_context(attacked.server.connect())
                    sent = attacked.request({"prompt": "a", "max_tokens": 200, "stream": True}, close=False)
                    connection.sendall(sent + behind)
                    assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
                    # The system of a process that was killed resets what it had not read.
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                until(lambda: attacked.model.running + attacked.model.waiting == 8)
            until(lambda: attacked.model.running == attacked.model.waiting == 0)
        # The key may have eleven at once: without places that are free again it would have none.
        until(attacked.is_well)


def test_a_client_that_reads_nothing_of_its_stream_is_given_up(attacked: Attacked) -> None:
    connections = attacked.server.server.server_state.connections
    with attacked.server.connect() as connection:
        port = connection.getsockname()[1]
        until(lambda: any(one.client == ("127.0.0.1", port) for one in [*connections]))
        (theirs,) = (one for one in [*connections] if one.client == ("127.0.0.1", port))
        # The system would keep megabytes for who does not read.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        theirs.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        connection.sendall(attacked.request({"prompt": "a", "max_tokens": 200, "stream": True, "logprobs": 5, "n": 8}))
        until(lambda: theirs not in connections)
        until(lambda: attacked.model.running == attacked.model.waiting == 0)
        told = all_of(connection)
    assert told.startswith(b"HTTP/1.1 200")
    assert b"[DONE]" not in told
    until(attacked.is_well)


def test_neither_texts_nor_cached_prefixes_of_a_key_are_anothers(attacked: Attacked) -> None:
    fields = {"prompt": list(range(10, 210)), "max_tokens": 2}

    def cached(key: str) -> int:
        status, _, body = attacked.ask(fields, key=key)
        assert status == 200
        return body["usage"]["prompt_tokens_details"]["cached_tokens"]

    assert cached("alice") == 0
    assert cached("alice") > 100
    assert cached("bob") == 0
    assert cached("bob") > 100


def test_two_requests_in_one_piece_are_answered_in_their_order(attacked: Attacked) -> None:
    sent = b"".join(attacked.request({"prompt": "a", "max_tokens": tokens}, close=tokens == 3) for tokens in (1, 2, 3))
    with attacked.server.connect() as connection:
        connection.sendall(sent)
        answers = all_of(connection)
    bodies = [part.partition(b"\r\n\r\n")[2] for part in answers.split(b"HTTP/1.1 200 OK\r\n")[1:]]
    assert [json.loads(body)["usage"]["completion_tokens"] for body in bodies] == [1, 2, 3]


def test_a_model_that_is_killed_is_told_without_a_path_and_comes_back(attacked: Attacked) -> None:
    with attacked.server.connect() as connection:
        with attacked.busy():
            connection.sendall(attacked.request({"prompt": "a", "max_tokens": 200}))
            until(lambda: attacked.model.running == 1)
            assert attacked.model.pid is not None
            os.kill(attacked.model.pid, signal.SIGKILL)
        status, _, body = answer_of(first_of(connection))
    assert status == 500
    assert body["error"]["type"] == "server_error"
    assert "/" not in body["error"]["message"]
    until(lambda: attacked.model.state == "ready")
    assert attacked.is_well()


def test_who_has_no_key_learns_nothing_of_the_models_but_their_health(attacked: Attacked) -> None:
    connection = http.client.HTTPConnection(attacked.server.host, attacked.server.port, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        for path, expected in (("/v1/models", 401), ("/metrics", 401), ("/health", 200)):
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read().decode()
            assert answer.status == expected
            assert os.getcwd() not in text
