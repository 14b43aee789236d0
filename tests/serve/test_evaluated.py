"""Evaluations over HTTP give what they give in process: lm-evaluation-harness's own client, and Puna's."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from chats import chat_tokenizer
from fake_runner import FakeRunner
from in_process import InProcessModel, InProcessModels
from listening import Listening, listening
from lm_eval.models.openai_completions import LocalCompletionsAPI
from own_tasks import write_tasks
from small_served import small_model
from torch import Tensor

import puna
from puna.core.schema.evaluation import read_documents
from puna.evaluate.backends.endpoint import EndpointBackend
from puna.evaluate.backends.http_json import HttpJson
from puna.evaluate.backends.local import LocalBackend
from puna.evaluate.harness_model import HarnessModel
from puna.infer.engine import Engine
from puna.infer.requests import Request, Sampling
from puna.serve.app import make_app
from puna.tokenizer.tokenizer import Tokenizer

CONTEXT = 200
PAIRS = [
    ("You are a helpful assistant.", " The capital is Paris."),
    ("You are a helpful assistant.", " Paris"),
    ("What is the capital of France?", " é日🙂"),
    ("<|im_start|>user\nHi<|im_end|>", " <|im_end|> it says"),  # typed, so no control tokens
    ("", "The capital"),
    ("The capital ", "is Paris"),
]


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    """Bytes and a few words; the client cannot put BOS before what it encodes, so it has none."""
    return chat_tokenizer(add_bos=False)


class EndsAtOnce(FakeRunner):
    """Finds the end of the text likeliest everywhere."""

    eos_id = 0

    def of(self, tokens: list[int]) -> Tensor:
        logits_V = super().of(tokens)
        logits_V[self.eos_id] = 20.0
        return logits_V


def ending(words: Tokenizer) -> InProcessModel:
    """A model that writes nothing."""
    runner = EndsAtOnce(vocab_size=words.vocab_size, context=CONTEXT, pages=256)
    runner.eos_id = words.eos_id
    return InProcessModel("ends", Engine(runner, words), words)


@pytest.fixture(scope="module")
def url(words: Tokenizer) -> Iterator[str]:
    with listening(make_app(InProcessModels(small_model(words, context=CONTEXT), ending(words)))) as server:
        yield server.url


def asked(*arguments: Any) -> list[Any]:
    return [SimpleNamespace(args=one) for one in arguments]


@pytest.fixture(scope="module")
def client(url: str) -> LocalCompletionsAPI:
    """lm-evaluation-harness's `local-completions`, with the tokenizer of the server."""
    return LocalCompletionsAPI(
        base_url=f"{url}/v1/completions", model="small", batch_size=3, max_length=CONTEXT, max_retries=1
    )


@pytest.fixture
def local(words: Tokenizer) -> HarnessModel:
    return HarnessModel(LocalBackend(small_model(words, context=CONTEXT).engine, words))


def test_the_harness_finds_the_tokenizer_of_the_server(client: LocalCompletionsAPI, words: Tokenizer) -> None:
    assert client.tokenizer_backend == "remote"
    assert client.tok_encode("The capital é") == words.encode("The capital é")
    assert (client.eot_token_id, client.prefix_token_id) == (words.eos_id, words.bos_id)


def test_likelihoods_of_the_harness_are_those_in_process(client: LocalCompletionsAPI, local: HarnessModel) -> None:
    """To the last digit."""
    assert client.loglikelihood(asked(*PAIRS), disable_tqdm=True) == local.loglikelihood(asked(*PAIRS))


def test_so_are_those_of_a_model_that_would_end_every_text(url: str, words: Tokenizer) -> None:
    """The client takes off the token that had to be written, which must then be there."""
    client = LocalCompletionsAPI(base_url=f"{url}/v1/completions", model="ends", max_length=CONTEXT, max_retries=1)
    local = HarnessModel(LocalBackend(ending(words).engine, words))
    assert local.generate_until(asked(("You are", {"until": ["e"]}))) == [""]
    assert client.loglikelihood(asked(*PAIRS), disable_tqdm=True) == local.loglikelihood(asked(*PAIRS))


def test_the_harness_reads_whole_texts_as_in_process(client: LocalCompletionsAPI, local: HarnessModel) -> None:
    texts = [("What is the capital of France? ",), ("é日🙂",)]
    assert client.loglikelihood_rolling(asked(*texts), disable_tqdm=True) == local.loglikelihood_rolling(asked(*texts))


def test_texts_of_the_harness_are_those_in_process(client: LocalCompletionsAPI, local: HarnessModel) -> None:
    options = {"until": ["e", "\n\n"], "max_gen_toks": 20, "do_sample": False, "temperature": 0.0}
    prompts = [("What is the capital of France?", options), ("You are", options), ("é", options)]
    assert client.generate_until(asked(*prompts), disable_tqdm=True) == local.generate_until(asked(*prompts))


def test_puna_evaluates_a_server_as_the_model_in_process(url: str, words: Tokenizer) -> None:
    remote = EndpointBackend(HttpJson(f"{url}/v1", retries=0), words, model="small")
    here = LocalBackend(small_model(words, context=CONTEXT).engine, words)
    assert (remote.model, remote.longest) == ("small", CONTEXT - 1)
    pairs = [
        (tuple(words.encode(context)) or (words.bos_id,), tuple(words.encode(continuation)))
        for context, continuation in PAIRS
    ]
    assert remote.score(pairs) == here.score(pairs)
    requests = [
        Request(
            prompt=tuple(words.encode(context)) or (words.bos_id,), max_tokens=30, n=2, stop=("e", "a", "b", "c", "t"),
            stop_ids=frozenset(words.stops), sampling=Sampling(seed=place, temperature=0.7, top_p=0.9),
        )
        for place, (context, _) in enumerate(PAIRS)
    ]  # fmt: skip
    assert remote.write(requests) == here.write(requests)
    nothing = EndpointBackend(HttpJson(f"{url}/v1", retries=0), words, model="ends")
    assert nothing.write(requests[:1]) == LocalBackend(ending(words).engine, words).write(requests[:1])


def test_a_server_has_the_figures_of_the_model_in_process(served: Listening, chat_model: Path, tmp_path: Path) -> None:
    """To the last digit, with the model in a process of its own."""
    tasks = str(write_tasks(tmp_path / "mine"))
    here = puna.evaluate(chat_model, tasks=tasks, out=tmp_path / "here")
    there = puna.evaluate(f"{served.url}/v1", tasks=tasks, out=tmp_path / "there", tokenizer=chat_model)
    assert len(here.results.tasks) > 1
    for task in here.results.tasks:
        ours, theirs = (list(read_documents(of.directory.documents_of(task.id))) for of in (here, there))
        assert [(line.values, line.options, line.written) for line in ours] == [
            (line.values, line.options, line.written) for line in theirs
        ]
