import socket
import threading

import pytest
from completions_server import Faults, completions_server
from fake_runner import FakeRunner

from puna.core.errors import EvaluateError
from puna.evaluate.backends import http_json
from puna.evaluate.backends.http_json import HttpJson
from puna.infer.engine import Engine
from puna.tokenizer.tokenizer import Tokenizer

QUESTION = {"prompt": [[1, 300]], "max_tokens": 1, "temperature": 0}


def engine_of(tokenizer: Tokenizer) -> Engine:
    return Engine(FakeRunner(vocab_size=tokenizer.vocab_size), tokenizer)


def test_a_busy_server_is_asked_again_after_the_pause_that_it_asks_for(tokenizer: Tokenizer) -> None:
    pauses: list[float] = []
    faults = Faults(statuses=[(429, {"Retry-After": "7"}), (503, {}), (503, {"Retry-After": "3600"}), (502, {})])
    with completions_server(engine_of(tokenizer), tokenizer, faults) as server:
        answer = HttpJson(server.url, retries=4, pause=pauses.append).post("/completions", QUESTION)
    assert len(answer["choices"]) == 1
    assert pauses == [7, 2, 30, 8]
    assert server.asked == [QUESTION] * 5


def test_patience_ends(tokenizer: Tokenizer) -> None:
    pauses: list[float] = []
    faults = Faults(statuses=[(503, {})] * 9)
    with (
        completions_server(engine_of(tokenizer), tokenizer, faults) as server,
        pytest.raises(EvaluateError, match="answers with the code 503: too much to do"),
    ):
        HttpJson(server.url, retries=2, pause=pauses.append).post("/completions", QUESTION)
    assert pauses == [1, 2]


@pytest.mark.parametrize("code", [400, 401, 404, 500])
def test_a_refusal_is_not_asked_again(tokenizer: Tokenizer, code: int) -> None:
    with (
        completions_server(engine_of(tokenizer), tokenizer, Faults(statuses=[(code, {})])) as server,
        pytest.raises(EvaluateError, match=f"answers with the code {code}: too much to do"),
    ):
        HttpJson(server.url).post("/completions", QUESTION)
    assert len(server.asked) == 1


def test_redirections_are_not_followed(tokenizer: Tokenizer) -> None:
    faults = Faults(statuses=[(307, {"Location": "http://127.0.0.1:9/"})])
    with (
        completions_server(engine_of(tokenizer), tokenizer, faults) as server,
        pytest.raises(EvaluateError, match="answers with the code 307"),
    ):
        HttpJson(server.url, key="secret").post("/completions", QUESTION)


def test_a_server_that_is_not_there_is_one_sentence(unused_port: int) -> None:
    server = HttpJson(f"http://127.0.0.1:{unused_port}/v1", retries=1, pause=lambda _: None)
    with pytest.raises(EvaluateError, match=r"/v1/models: cannot be reached: .*refused"):
        server.get("/models")


def test_a_server_that_says_nothing_is_given_up_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:  # accepts and never answers
        server = HttpJson(f"http://127.0.0.1:{listening.getsockname()[1]}/v1", timeout=0.05, retries=0)
        with pytest.raises(EvaluateError, match="cannot be reached: timed out"):
            server.get("/models")


def test_a_server_that_does_not_speak_http_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"220 mail.example.org ESMTP\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        server = HttpJson(f"http://127.0.0.1:{listening.getsockname()[1]}/v1", retries=0)
        with pytest.raises(EvaluateError, match="cannot be reached"):
            server.get("/models")
        thread.join()


def test_an_answer_that_is_too_long_is_not_read_to_its_end(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_json, "MOST_BYTES", 1000)
    with (
        completions_server(engine_of(tokenizer), tokenizer, Faults(body=b'"' + b"x" * 2000 + b'"')) as server,
        pytest.raises(EvaluateError, match="answers with more than 1,000 bytes"),
    ):
        HttpJson(server.url).post("/completions", QUESTION)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/v1", "http://", "host:8000", "http://host:99999/v1", "http://user@host/v1", "file:///etc/passwd",
        "http://[::1", "http://host/vü", "http://host/a b", "http://ho st/v1", f"http://{'a' * 70}.org/v1",
        "http://ü..org/v1", "http://host/v1?key=1", "http://host/v1#m",
    ],
)  # fmt: skip
def test_what_is_not_an_address_of_http_is_refused(url: str) -> None:
    with pytest.raises(EvaluateError, match="is not the address of an endpoint"):
        HttpJson(url)


@pytest.mark.parametrize("key", ["two words", "line\n", "schlüssel", "鍵"])
def test_what_cannot_be_a_key_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(EvaluateError, match="key has characters that no key has") as refused:
        HttpJson("http://host/v1", key=key)
    assert key not in str(refused.value)
