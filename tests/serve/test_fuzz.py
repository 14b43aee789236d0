"""Requests that are nearly right, by hypothesis: refused with the client's error or answered, and nothing of others."""

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest
from fuzzed import CANARY, VALID, fuzzed_models
from hostile_json import bodies
from hypothesis import given, settings
from hypothesis import strategies as st
from in_process import InProcessModels
from listening import PATIENCE_S, Listening, listening

from puna.serve.app import make_app
from puna.serve.keys import Keys
from puna.serve.run import Settings

KEYS = {"alice": "alices-secret-key-1", "bob": "bobs-secret-key-number-2"}
CANARIES = {"alice": "the violet heron", "bob": "a copper lantern"}
REFUSED = (400, 404, 405, 413, 415)
TOLD = ("Traceback", "site-packages", "/puna/", ".py", "pydantic", "0x7f", *KEYS.values())
"""What no answer may hold: of stacks, paths, libraries, objects and keys."""


@pytest.fixture(scope="module")
def models() -> InProcessModels:
    return fuzzed_models()


@pytest.fixture(scope="module")
def server(models: InProcessModels) -> Iterator[Listening]:
    with listening(make_app(models), Settings(keys=Keys(KEYS))) as started:
        yield started


class Client:
    """Somebody with a key, and a connection that is kept."""

    def __init__(self, server: Listening, name: str) -> None:
        self.name = name
        self._connection = http.client.HTTPConnection(server.host, server.port, timeout=PATIENCE_S)
        self._authorization = {"Authorization": f"Bearer {KEYS[name]}"}

    def send(self, path: str, body: bytes, content_type: str = "application/json", method: str = "POST") -> Any:
        self._connection.request(method, path, body, {**self._authorization, "Content-Type": content_type})
        answer = self._connection.getresponse()
        return answer.status, answer.getheader("content-type"), answer.read().decode()

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="module")
def clients(server: Listening) -> Iterator[dict[str, Client]]:
    made = {name: Client(server, name) for name in KEYS}
    yield made
    for client in made.values():
        client.close()


@pytest.fixture(scope="module")
def fields(models: InProcessModels) -> dict[str, list[str]]:
    """The names that each route's body may have, as the served schema says."""
    schema = make_app(models).openapi()
    assert set(VALID) == {path for path, methods in schema["paths"].items() if "post" in methods}
    found = {}
    for path in VALID:
        name = schema["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"].split("/")[
            -1
        ]
        found[path] = sorted(schema["components"]["schemas"][name]["properties"])
    return found


@settings(max_examples=850, derandomize=True)
@given(data=st.data())
def test_a_wrong_body_is_refused_or_answered_and_shows_nothing_of_others(
    clients: dict[str, Client], fields: dict[str, list[str]], data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(sorted(VALID)))
    for name, canary in CANARIES.items():
        valid = json.loads(json.dumps(VALID[path]).replace(CANARY, canary))
        body = data.draw(bodies(valid, fields[path]))
        content_type = data.draw(st.sampled_from(["application/json"] * 8 + ["text/plain", "application/json; a=é"]))
        status, kind, text = clients[name].send(path, body, content_type.encode("latin-1").decode("latin-1"))
        other = next(theirs for owner, theirs in CANARIES.items() if owner != name)
        assert other not in text
        if status == 200:
            continue
        assert status in REFUSED, text
        error = json.loads(text)["error"]
        assert kind == "application/json"
        assert set(error) == {"message", "type", "param", "code"}
        assert error["type"] in ("invalid_request_error", "not_found_error")
        assert 10 < len(error["message"]) < 1000
        assert not [told for told in TOLD if told in text]
