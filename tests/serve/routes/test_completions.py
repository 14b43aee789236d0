"""`/v1/completions` against a model that is asked one text at a time, a whole pass for each token."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from engine_twin import plain_completion
from fake_runner import FakeRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st
from in_process import InProcessModels
from listening import listening, until
from openai.types import Completion as OpenAICompletion
from small_served import small_model, small_models
from starlette.testclient import TestClient

from puna.infer.requests import Completion, Request, Sampling
from puna.serve.app import make_app
from puna.tokenizer.bos import prompt_ids
from puna.tokenizer.tokenizer import Tokenizer

GREEDY: dict[str, Any] = {"temperature": 0}


def asked(http: TestClient, **body: Any) -> dict[str, Any]:
    """A good answer."""
    answer = http.post("/v1/completions", json=body)
    assert answer.status_code == 200, answer.text
    if not (body.get("echo") and "logprobs" in body):  # its types know no null, which OpenAI's own server had first
        OpenAICompletion.model_validate(answer.json(), strict=True)
    return answer.json()


def refused(http: TestClient, **body: Any) -> dict[str, Any]:
    """The error of a request that is refused."""
    answer = http.post("/v1/completions", json=body)
    assert answer.status_code == 400, answer.text
    return answer.json()["error"]


def expected(tokenizer: Tokenizer, prompt: tuple[int, ...], sample: int = 0, **more: Any) -> Completion:
    """What the slow twin says."""
    request = Request(prompt=prompt, stop_ids=frozenset(tokenizer.stops), **more)
    runner = FakeRunner(vocab_size=tokenizer.vocab_size)
    return plain_completion(runner.of, request, sample, 64, tokenizer)


def streamed(http: TestClient, **body: Any) -> list[dict[str, Any]]:
    """The chunks of a stream, which ends as it must."""
    answer = http.post("/v1/completions", json={**body, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in answer.text.split("\n\n") if line and not line.startswith(":")]
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def joined(chunks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The choices that the pieces of a stream make."""
    pieces = [piece for chunk in chunks for piece in chunk["choices"]]
    for index in sorted({piece["index"] for piece in pieces}):
        own = [piece for piece in pieces if piece["index"] == index]
        assert [piece["finish_reason"] is None for piece in own] == [True] * (len(own) - 1) + [False]
        lists = [piece["logprobs"] for piece in own if piece["logprobs"]]
        logprobs = {name: [one for part in lists for one in part[name] or []] for name in lists[0]} if lists else None
        if logprobs and lists[0]["top_logprobs"] is None:
            logprobs["top_logprobs"] = None
        yield {
            "index": index, "text": "".join(piece["text"] for piece in own), "logprobs": logprobs,
            "finish_reason": own[-1]["finish_reason"],
        }  # fmt: skip


def test_a_text_is_continued_as_the_model_alone_would(http: TestClient, tokenizer: Tokenizer) -> None:
    answer = asked(http, prompt="The people", max_tokens=20, **GREEDY)
    ids = tuple(prompt_ids(tokenizer, "The people"))
    alone = expected(tokenizer, ids, max_tokens=20, sampling=Sampling(temperature=0))
    assert answer["choices"] == [
        {"index": 0, "text": alone.text, "logprobs": None, "finish_reason": alone.finish}
    ]  # fmt: skip
    assert answer["usage"] == {
        "prompt_tokens": len(ids), "completion_tokens": len(alone.tokens), "total_tokens": len(ids) + len(alone.tokens),
        "prompt_tokens_details": {"cached_tokens": 0},
    }  # fmt: skip
    assert (answer["object"], answer["model"]) == ("text_completion", "small")


def test_sixteen_tokens_are_written_where_nothing_is_said(http: TestClient) -> None:
    answer = asked(http, prompt="The people", logit_bias={"2": -100}, seed=1)
    assert answer["usage"]["completion_tokens"] == 16


@pytest.mark.parametrize("form", ["text", "texts", "ids", "lists"])
def test_prompts_of_every_form_and_several_texts_for_each(http: TestClient, tokenizer: Tokenizer, form: str) -> None:
    texts = ["The people", "def main"]
    ids = [tuple(prompt_ids(tokenizer, text)) for text in texts]
    prompts = {"text": texts[:1], "ids": texts[:1]}.get(form, texts)
    given = {"text": texts[0], "texts": texts, "ids": ids[0], "lists": ids}[form]
    answer = asked(http, prompt=given, n=3, max_tokens=8, seed=5, temperature=0.9, top_p=0.8, stop=["e", "zz"])
    sampling = Sampling(temperature=0.9, top_p=0.8, seed=5)
    alone = [
        expected(tokenizer, ids[place], sample, max_tokens=8, n=3, sampling=sampling, stop=("e", "zz"))
        for place in range(len(prompts))
        for sample in range(3)
    ]
    assert [(one["index"], one["text"], one["finish_reason"]) for one in answer["choices"]] == [
        (index, one.text, one.finish) for index, one in enumerate(alone)
    ]


@pytest.mark.parametrize("logprobs", [None, 0, 3])
def test_a_stream_says_what_the_whole_answer_says(http: TestClient, logprobs: int | None) -> None:
    body = {
        "prompt": ["The people", "def main", ""], "n": 2, "max_tokens": 24, "seed": 3, "logprobs": logprobs,
        "stop": ["e t", "ab"],
    }  # fmt: skip
    whole = asked(http, **body)
    chunks = streamed(http, **body, stream_options={"include_usage": True})
    assert list(joined(chunks)) == whole["choices"]
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1]["choices"] == []
    counts = ("prompt_tokens", "completion_tokens", "total_tokens")
    assert [chunks[-1]["usage"][name] for name in counts] == [whole["usage"][name] for name in counts]


def test_log_probabilities_are_those_of_the_engine(http: TestClient, tokenizer: Tokenizer) -> None:
    prompt = tuple(prompt_ids(tokenizer, "The people"))
    (choice,) = asked(http, prompt=prompt, echo=True, logprobs=2, max_tokens=12, **GREEDY)["choices"]
    alone = expected(
        tokenizer, prompt, max_tokens=12, logprobs=2, prompt_logprobs=2, sampling=Sampling(temperature=0)
    )  # fmt: skip
    told = [*alone.prompt, *alone.tokens, *([alone.stop_token] if alone.stop_token else [])]
    assert choice["text"] == "The people" + alone.text
    assert choice["logprobs"]["token_logprobs"] == [None, *(token.logprob for token in told)]
    for best, token in zip(choice["logprobs"]["top_logprobs"][1:], told, strict=True):
        assert list(best.values())[:2] == [logprob for _, logprob in token.best]
        assert token.logprob in best.values()
    assert len(choice["logprobs"]["tokens"]) == len(choice["logprobs"]["text_offset"]) == len(told) + 1


def test_the_token_that_ends_a_text_stands_in_the_lists(http: TestClient, tokenizer: Tokenizer) -> None:
    body = {"prompt": "The people", "logit_bias": {str(tokenizer.eos_id): 100}, "logprobs": 1, "max_tokens": 5}
    (choice,) = asked(http, **body)["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("", "stop")
    assert choice["logprobs"]["tokens"] == ["</s>"]
    assert list(joined(streamed(http, **body))) == [choice]


def test_an_echo_alone_reads_the_prompt(http: TestClient) -> None:
    answer = asked(http, prompt="The people", echo=True, logprobs=0, max_tokens=0)
    (choice,) = answer["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("The people", "length")
    assert choice["logprobs"]["tokens"][0] == "<s>"
    assert "".join(choice["logprobs"]["tokens"][1:]) == " The people"
    assert choice["logprobs"]["text_offset"][:3] == [0, 0, len(choice["logprobs"]["tokens"][1]) - 1]
    assert choice["logprobs"]["top_logprobs"] is None
    assert answer["usage"]["completion_tokens"] == 0


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        ({}, "prompt", "prompt is missing"),
        ({"prompt": "a", "temperatures": 1}, "temperatures", "temperatures is not known; did you mean temperature?"),
        ({"prompt": "a", "temperature": 3}, "temperature", "temperature is 3, but must be less than or equal to 2"),
        ({"prompt": "a", "n": True}, "n", "n is true, but must be a valid integer"),
        ({"prompt": "a", "max_tokens": "5"}, "max_tokens", "max_tokens is '5', but must be a valid integer"),
        ({"prompt": "a", "suffix": "b"}, "suffix", "suffix is not supported: LLaMA was not trained to write between"),
        ({"prompt": "a", "best_of": 2}, "best_of", "best_of is not supported: write n texts and choose among them"),
        ({"prompt": "a", "stop": list("abcde")}, "stop", "stop: list should have at most 4 items"),
        ({"prompt": "a", "logit_bias": {"9": 101}}, "logit_bias.9", "logit_bias.9 is 101, but must be less than"),
        ({"prompt": "a", "stream_options": {}}, "stream_options", "stream_options must be left out where stream is"),
        ({"prompt": ["a", 1]}, "prompt[1]", "prompt[1] is 1, but must be a valid string"),
        ({"prompt": []}, "prompt", "prompt: list should have at least 1 item"),
        ({"prompt": [[]]}, "prompt[0]", "prompt[0]: list should have at least 1 item"),
        ({"prompt": [9**6]}, None, "prompt has the token id 531441, but the vocabulary has 512 tokens"),
        ({"prompt": [5] * 64}, None, "the prompt is 64 tokens long, but the model's context is 64"),
        ({"prompt": "a" * 10**6}, "prompt", "prompt has 1,000,000 characters, which are at least"),
        ({"prompt": 3}, "prompt", "prompt is 3, but must be a valid string or be a valid list"),
        ({"prompt": "a", "stream": True, "echo": True, "logprobs": 1}, "stream", "stream is not supported: log-prob"),
    ],
)
def test_what_cannot_be_done_is_refused_by_its_name(
    http: TestClient, body: dict[str, Any], param: str | None, message: str
) -> None:
    error = refused(http, **body)
    assert error["message"].startswith(message)
    assert (error["param"], error["type"]) == (param, "invalid_request_error")


def test_null_is_the_same_as_nothing(http: TestClient, models: InProcessModels) -> None:
    nothing = dict.fromkeys(
        ("best_of", "echo", "frequency_penalty", "logit_bias", "logprobs", "max_tokens", "min_p", "model", "n",
         "presence_penalty", "repetition_penalty", "stop", "stream", "stream_options", "suffix", "temperature",
         "top_k", "top_p", "user")
    )  # fmt: skip
    said = asked(http, prompt="The people", seed=1, **nothing)
    assert said["choices"] == asked(http, prompt="The people", seed=1)["choices"]


def test_a_guide_holds_every_text_streamed_or_not(http: TestClient) -> None:
    body = {"prompt": "Is it?", "n": 4, "seed": 5, "max_tokens": 12, "temperature": 2}
    choice = {**body, "structured_outputs": {"choice": ["yes", "no", "perhaps"]}}
    texts = [one["text"] for one in asked(http, **choice)["choices"]]
    assert set(texts) <= {"yes", "no", "perhaps"}
    assert [one["text"] for one in joined(streamed(http, **choice))] == texts
    matches = asked(http, **body, structured_outputs={"regex": "[ab]{3}c"})["choices"]
    assert all(re.fullmatch("[ab]{3}c", one["text"]) and one["finish_reason"] == "stop" for one in matches)


@pytest.mark.parametrize(
    ("outputs", "param"),
    [
        ({}, "structured_outputs"),
        ({"regex": "a", "choice": ["a"]}, "structured_outputs"),
        ({"regex": "(a"}, "structured_outputs"),
        ({"json": {"type": "object", "patternProperties": {}}}, "structured_outputs.json.patternProperties"),
        ({"grammar": "x"}, "structured_outputs.grammar"),
    ],
    ids=["none", "two", "regex", "keyword", "unknown"],
)
def test_a_guide_that_cannot_be_followed_is_refused_by_its_place(
    http: TestClient, outputs: dict[str, Any], param: str
) -> None:
    assert refused(http, prompt="a", structured_outputs=outputs)["param"] == param


BODIES = st.fixed_dictionaries(
    {"prompt": st.text(st.sampled_from("The people é"), max_size=12), "max_tokens": st.integers(0, 20)},
    optional={
        "n": st.integers(1, 3), "seed": st.integers(0, 9), "temperature": st.sampled_from([0, 0.7, 1.3]),
        "logprobs": st.none() | st.integers(0, 5), "echo": st.booleans(), "top_k": st.integers(0, 4),
        "stop": st.lists(st.text(st.sampled_from("aeitn "), min_size=1, max_size=2), max_size=4),
        "presence_penalty": st.sampled_from([0.5, -1]), "repetition_penalty": st.just(1.2), "min_p": st.just(0.05),
        "logit_bias": st.dictionaries(st.sampled_from(["2", "40", "300"]), st.integers(-50, 50)),
    },
)  # fmt: skip


@settings(max_examples=40)
@example(body={"prompt": "", "max_tokens": 0, "logprobs": 0})
@given(body=BODIES.filter(lambda body: not (body.get("echo") and body.get("logprobs") is not None)))
def test_a_text_is_the_same_streamed_or_not_and_beside_others(tokenizer: Tokenizer, body: dict[str, Any]) -> None:
    body = {"seed": 1, **body}
    with TestClient(make_app(small_models(tokenizer))) as http:
        alone = asked(http, **body)["choices"]
        assert list(joined(streamed(http, **body))) == alone
        beside = asked(http, **{**body, "prompt": ["a", body["prompt"], "zz"]})["choices"]
    n = len(alone)
    assert [{**choice, "index": choice["index"] - n} for choice in beside[n : 2 * n]] == alone


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_ends_its_request_at_once(tokenizer: Tokenizer, stream: bool) -> None:
    model = small_model(tokenizer, context=50_000)
    body = json.dumps({"prompt": "The people", "max_tokens": 40_000, "stream": stream, "logit_bias": {"2": -100}})
    head = (
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    )
    with listening(make_app(InProcessModels(model))) as server:
        with server.connect() as connection:
            connection.sendall(head.encode())
            if stream:
                assert connection.recv(1 << 16)
            until(lambda: model.callers)
        until(lambda: model.cancelled == 1)
        assert not model.engine._open
