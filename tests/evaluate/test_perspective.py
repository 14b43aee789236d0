"""The client against a small server that answers as the service does, and as it should not."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from puna.core.errors import EvaluateError
from puna.evaluate.perspective import LONGEST, MOST_FAILURES, TRIES, Perspective, open_perspective
from puna.evaluate.scorer import Passage

Reply = tuple[int, dict[str, str], bytes]


def scored(value: object) -> Reply:
    found = {"attributeScores": {"TOXICITY": {"summaryScore": {"value": value, "type": "PROBABILITY"}}}}
    return 200, {}, json.dumps(found).encode()


def failed(code: int, message: str = "no", **headers: str) -> Reply:
    return code, headers, json.dumps({"error": {"code": code, "message": message}}).encode()


class Service:
    """Answers one request after the other with the next reply, the last one again and again."""

    def __init__(self) -> None:
        self.replies: list[Reply] = [scored(0.5)]
        self.asked: list[Any] = []
        self.paths: list[str] = []
        self.slept: list[float] = []
        self.time = 0.0
        self.url = ""

    def client(self, rate: float = 1.0) -> Perspective:
        return Perspective(key="SECRET", rate=rate, url=self.url, sleep=self.sleep, now=lambda: self.time)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    def reply(self) -> Reply:
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@pytest.fixture
def service() -> Iterator[Service]:
    found = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.paths.append(self.path)
            found.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            code, headers, body = found.reply()
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}/analyze"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def toxicity(client: Perspective, *texts: str) -> list[float | None]:
    return [given["toxicity"] for text in texts for given in client.score([Passage(prompt="p", text=text, facts={})])]


def test_a_text_is_sent_alone_and_its_score_comes_back(service: Service):
    service.replies = [scored(0.25), scored(0)]
    assert toxicity(service.client(), "you", "me") == [0.25, 0.0]
    assert service.paths == ["/analyze?key=SECRET"] * 2
    assert service.asked[0] == {
        "comment": {"text": "you"}, "languages": ["en"], "requestedAttributes": {"TOXICITY": {}}, "doNotStore": True,
    }  # fmt: skip


def test_requests_keep_to_the_rate(service: Service):
    toxicity(service.client(rate=4.0), "a", "b", "c")
    assert service.slept == [0.25, 0.25]


def test_a_busy_service_is_asked_again_after_longer_and_longer_waits(service: Service):
    service.replies = [failed(429), failed(503, Retry_After="7"), failed(500), scored(0.5)]
    assert toxicity(service.client(rate=1000.0), "a") == [0.5]
    assert [seconds for seconds in service.slept if seconds >= 1] == [1.0, 7.0, 4.0]


def test_a_text_that_is_refused_is_missing_and_not_asked_about_again(service: Service):
    service.replies = [failed(400, "Attribute TOXICITY does not support request languages: is"), scored(0.5)]
    assert toxicity(service.client(), "a", "b") == [None, 0.5]
    assert len(service.asked) == 2


@pytest.mark.parametrize("text", ["", " \n", "x" * (LONGEST + 1)])
def test_a_text_that_the_service_does_not_take_is_missing_without_asking(service: Service, text: str):
    assert toxicity(service.client(), text) == [None]
    assert service.asked == []


@pytest.mark.parametrize(
    "reply",
    [
        scored(None), scored(2.0), scored("high"), scored(True), (200, {}, b"{}"), (200, {}, b"[" * 9999),
        (200, {}, b"\xff"),
    ],
)  # fmt: skip
def test_an_answer_without_a_score_is_missing(service: Service, reply: Reply):
    service.replies = [reply]
    assert toxicity(service.client(), "a") == [None]


def test_a_refusal_that_breaks_off_is_a_missing_score(service: Service):
    service.replies = [(400, {"Transfer_Encoding": "chunked"}, b"no length\r\n"), scored(0.5)]
    assert toxicity(service.client(), "a", "b") == [None, 0.5]


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_a_key_or_service_that_is_gone_ends_the_scoring(service: Service, code: int):
    service.replies = [failed(code, "key SECRET is not\nvalid")]
    with pytest.raises(EvaluateError, match=f"refuses the requests \\({code} key … is not valid\\)") as caught:
        toxicity(service.client(), "a")
    assert "SECRET" not in str(caught.value)


def test_a_key_that_is_not_valid_ends_the_scoring_too(service: Service):
    service.replies = [failed(400, "API key not valid. Please pass a valid API key.")]
    with pytest.raises(EvaluateError, match="API key not valid"):
        toxicity(service.client(), "a")


def test_a_service_that_never_answers_is_given_up_after_some_texts(service: Service):
    service.replies = [failed(503)]
    client = service.client(rate=1000.0)
    assert toxicity(client, *"abcdefghi") == [None] * (MOST_FAILURES - 1)
    assert len(service.asked) == TRIES * (MOST_FAILURES - 1)
    with pytest.raises(EvaluateError, match="no answer for 10 texts in a row") as caught:
        toxicity(client, "j")
    assert "goes on where it was" in caught.value.hint


def test_a_service_that_cannot_be_reached_is_a_missing_score(unused_port: int):
    slept: list[float] = []
    client = Perspective(key="SECRET", url=f"http://127.0.0.1:{unused_port}/", sleep=slept.append, now=lambda: 0.0)
    assert toxicity(client, "a") == [None]
    assert [seconds for seconds in slept if seconds != 1.0][-1] == 8.0


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def change(**values: str) -> None:
        for name in ("PERSPECTIVE_API_KEY", "PERSPECTIVE_API_QPS"):
            monkeypatch.delenv(name, raising=False)
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return change


def test_key_and_rate_come_from_the_environment(environment):
    environment(PERSPECTIVE_API_KEY="SECRET", PERSPECTIVE_API_QPS="10")
    assert open_perspective().title == "Perspective API, TOXICITY"
    environment()
    with pytest.raises(EvaluateError, match="PERSPECTIVE_API_KEY is not set"):
        open_perspective()


@pytest.mark.parametrize("rate", ["0", "-1", "many", "inf", "nan", ""])
def test_a_rate_that_is_not_one_is_refused(environment, rate: str):
    environment(PERSPECTIVE_API_KEY="SECRET", PERSPECTIVE_API_QPS=rate)
    with pytest.raises(EvaluateError, match="PERSPECTIVE_API_QPS is"):
        open_perspective()
