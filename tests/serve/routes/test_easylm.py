"""EasyLM's routes against the engine in process, and in the shapes that EasyLM's client reads."""

import math
from typing import Any

import pytest
from chats import TEMPLATES, chat_tokenizer
from fake_runner import FakeRunner
from in_process import InProcessModel, InProcessModels
from small_served import small_model
from starlette.testclient import TestClient

from puna.chat.template import ChatTemplate
from puna.infer.engine import Engine
from puna.infer.requests import Request, Sampling
from puna.infer.windows import windows
from puna.serve.app import make_app
from puna.tokenizer.bos import pair_ids, prompt_ids
from puna.tokenizer.tokenizer import Tokenizer


def posted(http: TestClient, path: str, **body: Any) -> dict[str, Any]:
    answer = http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(http: TestClient, path: str, **body: Any) -> str:
    answer = http.post(path, json=body)
    assert answer.status_code == 400, answer.text
    return answer.json()["error"]["message"]


def test_likelihoods_are_those_of_the_engine(http: TestClient, tokenizer: Tokenizer) -> None:
    prefixes, texts = ["The people", "The people ", "", "The people"], [" of", "of", "def main", ""]
    told = posted(http, "/loglikelihood", prefix_text=prefixes, text=texts)
    engine = small_model(tokenizer).engine
    pairs = [pair_ids(tokenizer, *pair) for pair in zip(prefixes, texts, strict=True)]
    expected = engine.score(pairs)
    assert told == {
        "prefix_text": prefixes, "text": texts, "log_likelihood": [one.total for one in expected],
        "is_greedy": [one.greedy for one in expected],
    }  # fmt: skip
    alone = posted(http, "/loglikelihood", text=["def main"])
    assert alone["prefix_text"] == [""]
    assert alone["log_likelihood"] == told["log_likelihood"][2:3]


def test_what_the_model_writes_itself_is_greedy(http: TestClient, tokenizer: Tokenizer) -> None:
    (prefix, text), *_ = (
        (prefix, done.text)
        for prefix in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"]
        for prompt in [tuple(prompt_ids(tokenizer, prefix))]
        for done in small_model(tokenizer).engine.generate(
            [Request(prompt=prompt, max_tokens=1, sampling=Sampling(temperature=0))]
        )
        if pair_ids(tokenizer, prefix, done.text) == (prompt, (done.tokens[0].id,))
    )
    told = posted(http, "/loglikelihood", prefix_text=[prefix] * 2, text=[text, text + "q"])
    assert told["is_greedy"] == [True, False]


def test_texts_longer_than_the_context_are_read_in_windows(http: TestClient, tokenizer: Tokenizer) -> None:
    text = "The people of the state of the union. " * 12
    told = posted(http, "/loglikelihood-rolling", text=[text, "", "The people"])
    ids = (tokenizer.bos_id, *pair_ids(tokenizer, "", text)[1])
    parts = list(windows(ids, 64, 64))
    assert len(parts) > 2
    expected = math.fsum(one for score in small_model(tokenizer).engine.score(parts) for one in score.logprobs)
    assert told["log_likelihood"][:2] == [expected, 0]
    short = posted(http, "/loglikelihood", text=["The people"])
    assert told["log_likelihood"][2:] == short["log_likelihood"]


def test_texts_are_continued_until_others(http: TestClient, tokenizer: Tokenizer) -> None:
    prefixes, until = ["The people", "def main"], ["e", ["zz", "t"]]
    told = posted(http, "/greedy-until", prefix_text=prefixes, until=until)
    engine = small_model(tokenizer).engine
    requests = [
        Request(
            prompt=tuple(prompt_ids(tokenizer, text)), max_tokens=64, stop=stop, sampling=Sampling(temperature=0),
            stop_ids=frozenset(tokenizer.stops),
        )
        for text, stop in zip(prefixes, (("e",), ("zz", "t")), strict=True)
    ]  # fmt: skip
    expected = [one.text for one in engine.generate(requests)]
    assert told == {"prefix_text": prefixes, "until": until, "max_length": 64, "output_text": expected}


def test_texts_are_continued_with_a_temperature(http: TestClient) -> None:
    told = posted(http, "/generate", prefix_text=["The people", "The people"])
    assert told["temperature"] == 1.0
    assert told["output_text"][0] != told["output_text"][1]  # each draws for itself
    cold = posted(http, "/generate", prefix_text=["The people", "The people"], temperature=0)
    assert cold["output_text"][0] == cold["output_text"][1]
    until = posted(http, "/greedy-until", prefix_text=["The people"], until=[[]])
    assert cold["output_text"][:1] == until["output_text"]


def test_a_model_without_a_template_continues_the_conversation(http: TestClient) -> None:
    first = posted(http, "/chat", prompt="The people", temperature=0)
    assert first["context"] == "The people" + first["response"]
    assert refused(http, "/chat", prompt=" of", context="The people " * 99, temperature=0).startswith("prompt has")


def test_a_model_with_a_template_gets_its_turns_back() -> None:
    tokenizer = chat_tokenizer(add_bos=False)
    template = ChatTemplate(TEMPLATES["chatml"], tokenizer)
    runner = FakeRunner(vocab_size=tokenizer.vocab_size, context=256, pages=256)
    model = InProcessModel("chatty", Engine(runner, tokenizer), tokenizer, template)
    with TestClient(make_app(InProcessModels(model)), raise_server_exceptions=False) as http:
        first = posted(http, "/chat", prompt="Hello", temperature=0)
        turns = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": first["response"]}]
        second = posted(http, "/chat", prompt="And?", context=first["context"], temperature=0)
        with pytest.raises(AssertionError, match="context is not what"):
            posted(http, "/chat", prompt="And?", context="Hello")
    ends = frozenset({*tokenizer.stops, *template.turn_end.tokens})
    engine = Engine(FakeRunner(vocab_size=tokenizer.vocab_size, context=256, pages=256), tokenizer)
    for said, response in (
        ([{"role": "user", "content": "Hello"}], first["response"]),
        ([*turns, {"role": "user", "content": "And?"}], second["response"]),
    ):
        request = Request(
            prompt=tuple(template.ids(said)), max_tokens=256, sampling=Sampling(temperature=0), stop_ids=ends
        )
        assert [one.text for one in engine.generate([request])] == [response]


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/loglikelihood", {"prefix_text": ["a"], "text": ["a", "b"]}, "prefix_text has 1 texts, and text 2"),
        ("/loglikelihood", {"text": "a"}, "text is 'a', but must be a valid list"),
        ("/loglikelihood", {"text": ["a " * 999]}, "text[0] has 1,998 characters"),
        ("/greedy-until", {"prefix_text": ["a"], "until": []}, "until has 0 entries, and prefix_text 1"),
        ("/greedy-until", {"prefix_text": ["a"], "until": [""]}, "until[0]: string should have at least 1 character"),
        ("/generate", {"prefix_text": ["a"], "until": ["b"]}, "until is not known"),
        ("/chat", {"text": "a"}, "text is not known; did you mean context?"),
    ],
)
def test_what_cannot_be_done_is_refused(http: TestClient, path: str, body: dict[str, Any], message: str) -> None:
    assert refused(http, path, **body).startswith(message)


def test_a_server_is_ready_when_its_model_is(http: TestClient, models: InProcessModels) -> None:
    assert (http.get("/ready").status_code, http.get("/ready").json()) == (200, "Ready!\n")
    models.states["small"] = "loading"
    assert (http.get("/ready").status_code, http.get("/ready").headers["retry-after"]) == (503, "1")
