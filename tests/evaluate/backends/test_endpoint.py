"""Evaluation over HTTP against the same engine in process: a real server on this machine answers."""

import threading
from collections.abc import Iterator

import pytest
from completions_server import Faults, Server, completions_server
from fake_runner import FakeRunner

from puna.core.errors import EvaluateError
from puna.evaluate.backends.endpoint import EndpointBackend
from puna.evaluate.backends.http_json import HttpJson
from puna.evaluate.backends.local import LocalBackend
from puna.infer.engine import Engine
from puna.infer.requests import Request, Sampling
from puna.tokenizer.tokenizer import Tokenizer


def engine_of(tokenizer: Tokenizer) -> Engine:
    return Engine(FakeRunner(vocab_size=tokenizer.vocab_size), tokenizer)


@pytest.fixture
def server(tokenizer: Tokenizer) -> Iterator[Server]:
    with completions_server(engine_of(tokenizer), tokenizer) as running:
        yield running


def backend_of(server: Server, tokenizer: Tokenizer, **more: object) -> EndpointBackend:
    return EndpointBackend(HttpJson(server.url, key="secret", retries=0), tokenizer, **more)


@pytest.mark.parametrize("takes_zero", [True, False])
def test_scores_are_those_of_the_engine_in_process(server: Server, tokenizer: Tokenizer, takes_zero: bool) -> None:
    server.faults.takes_zero = takes_zero
    backend = backend_of(server, tokenizer)
    local = LocalBackend(engine_of(tokenizer), tokenizer)
    context = (1, 300, 301, 302)
    greedy = local.write([Request(prompt=context, max_tokens=1, sampling=Sampling(temperature=0))])
    likeliest = tokenizer.encode(greedy[0][0].text)[-1]
    pairs = [
        (context, (303, 304)), (context, (likeliest,)), (context, ()), ((1,), (5, 6, 7)), (context, (303, 304)),
    ]  # fmt: skip
    assert backend.score(pairs) == local.score(pairs)
    assert backend.longest == (63 if takes_zero else 62)
    whole = ((1, *range(300, 300 + backend.longest - 1)), (7,))
    assert backend.score([whole]) == local.score([whole])
    scored = [body for body in server.asked if len(body["prompt"][0]) in (6, 5, 4, 64)]
    assert len(scored) == len({str(body["prompt"]) for body in scored})  # none is asked twice


def test_texts_are_those_of_the_engine_in_process(server: Server, tokenizer: Tokenizer) -> None:
    requests = [
        Request(
            prompt=(1, 300 + place), max_tokens=12, n=n, stop=stop, stop_ids=frozenset(tokenizer.stops),
            sampling=Sampling(seed=place, temperature=heat, top_p=0.9),
        )
        for place, (n, heat, stop) in enumerate(
            [(1, 0.0, ()), (3, 0.8, ("e",)), (2, 1.0, ("qq", "zz", "xx", "vv", "e", "t"))]
        )
    ]  # fmt: skip
    found = backend_of(server, tokenizer).write(requests)
    expected = LocalBackend(engine_of(tokenizer), tokenizer).write(requests)
    assert [[one.text for one in samples] for samples in found] == [[one.text for one in part] for part in expected]
    assert [[one.finish for one in samples] for samples in found] == [[one.finish for one in part] for part in expected]
    assert [one.tokens for one in found[0]] == [one.tokens for one in expected[0]]
    assert max(len(body.get("stop") or ()) for body in server.asked) == 4  # as many as OpenAI's interface takes


def test_records_name_the_model_and_its_server_and_the_key_goes_along(server: Server, tokenizer: Tokenizer) -> None:
    backend = backend_of(server, tokenizer)
    assert (backend.title, backend.exact) == (f"demo at {server.url}", False)
    assert server.keys == {"Bearer secret"}
    assert {body["model"] for body in server.asked} == {"demo"}


def test_a_model_is_chosen_by_name(server: Server, tokenizer: Tokenizer) -> None:
    server.faults.models = ("large", "small")
    assert backend_of(server, tokenizer, model="small").title.startswith("small at")
    with pytest.raises(EvaluateError, match="has 2 models, and one has to be named"):
        backend_of(server, tokenizer)
    with pytest.raises(EvaluateError, match="has no model 'medium'"):
        backend_of(server, tokenizer, model="medium")


def test_a_server_that_does_not_say_its_context_is_asked_only_with_one_given(
    server: Server, tokenizer: Tokenizer
) -> None:
    server.faults.context = None
    with pytest.raises(EvaluateError, match="does not say how long the context"):
        backend_of(server, tokenizer)
    assert backend_of(server, tokenizer, context=40).longest == 39


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        (Faults(echoes=False), "has no log-probabilities of prompts"),
        (Faults(echoes=False, takes_zero=False), "has no log-probabilities of prompts"),
        (Faults(shift=1), "reads other text in the token ids"),
        (Faults(begins=True, takes_zero=False), "puts a token before prompts or has another tokenizer"),
        (Faults(begins=True), "puts a token before prompts or has another tokenizer"),
        (Faults(statuses=[(404, {})]), "answers with the code 404: too much to do"),
    ],
)  # fmt: skip
def test_a_server_whose_scores_would_be_wrong_is_refused_at_the_start(
    tokenizer: Tokenizer, faults: Faults, message: str
) -> None:
    with (
        completions_server(engine_of(tokenizer), tokenizer, faults) as server,
        pytest.raises(EvaluateError, match=message),
    ):
        backend_of(server, tokenizer)


def answered(top: bytes) -> bytes:
    """An answer about a prompt of three tokens, with what it says of the likeliest at the last place."""
    logprobs = b'{"token_logprobs": [null, -1.0, -1.0], "top_logprobs": [null, {"a": -1.0}, ' + top + b"]}"
    return b'{"choices": [{"logprobs": ' + logprobs + b"}]}"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{}", "there is not one choice"),
        (b'{"choices": [{"text": "x", "finish_reason": "stop"}]}', "has no log-probabilities"),
        (b'{"choices": [{"logprobs": {"token_logprobs": [null, -1.0, NaN]}}]}', "missing or not finite"),
        (b'{"choices": [{"logprobs": {"token_logprobs": [null, -1.0, "a"]}}]}', "missing or not finite"),
        (b'{"choices": [{"logprobs": {"token_logprobs": [null, -1.0, true]}}]}', "missing or not finite"),
        (b'{"choices": [{"logprobs": {"token_logprobs": [null, -1.0, 0.5]}}]}', "above 0"),
        (b'{"choices": [{"logprobs": {"token_logprobs": [null, -1.0, -1%s]}}]}' % (b"0" * 400), "or not finite"),
        (b'{"choices": [{"logprobs": {"token_logprobs": [null, -1.0, -1.0]}}]}', "top_logprobs are missing"),
        (answered(b'{"a": "x"}'), "top_logprobs are missing"),
        (answered(b'{"a": null, "b": -1.0}'), "top_logprobs are missing"),
        (answered(b'{"a": NaN}'), "top_logprobs are missing"),
        (b"[" * 100_000, "something else than JSON"),
        (b"<html>", "something else than JSON"),
    ],
)
def test_an_answer_of_another_form_is_an_error_and_never_a_number(
    server: Server, tokenizer: Tokenizer, body: bytes, message: str
) -> None:
    backend = backend_of(server, tokenizer)
    server.faults.body = body
    with pytest.raises(EvaluateError, match=message):
        backend.score([((1, 300), (301,))])


def test_without_the_likeliest_tokens_nothing_is_called_greedy(server: Server, tokenizer: Tokenizer) -> None:
    backend = backend_of(server, tokenizer)
    server.faults.top = False
    with pytest.raises(EvaluateError, match="top_logprobs are missing"):
        backend.score([((1, 300), (301,))])


def test_half_a_surrogate_pair_in_a_text_is_the_character_that_replaces_others(
    server: Server, tokenizer: Tokenizer
) -> None:
    """JSON can name it, and no file can hold it."""
    backend = backend_of(server, tokenizer)
    server.faults.body = rb'{"choices": [{"text": "a\ud83d b\uD83D\uDE00", "finish_reason": "stop"}]}'
    ((written,),) = backend.write([Request(prompt=(1, 300), max_tokens=4)])
    assert written.text == "a\ufffd b\U0001f600"


def test_a_failure_is_told_while_a_slow_answer_is_still_awaited(server: Server, tokenizer: Tokenizer) -> None:
    told = threading.Event()

    def ask(question: int) -> None:
        if question == 1:
            raise EvaluateError("the second question fails")
        assert told.wait(60)

    with pytest.raises(EvaluateError, match="the second question fails"):
        backend_of(server, tokenizer, together=2)._each(ask, range(20))
    told.set()
