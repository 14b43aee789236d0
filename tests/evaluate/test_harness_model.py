"""A model of Puna as lm-eval's tasks ask it."""

from types import SimpleNamespace
from typing import Any

import pytest
from evaluating import HashBackend
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from puna.evaluate.harness_model import LONGEST_ANSWER, HarnessModel, write_of
from puna.evaluate.joining import join, score_all
from puna.tokenizer.tokenizer import Tokenizer
from puna.tokenizer.train import train_tokenizer


@pytest.fixture(params=["sentencepiece-bpe", "byte-bpe"])
def any_tokenizer(request: pytest.FixtureRequest, tokenizer: Tokenizer, tmp_path_factory: Any) -> Tokenizer:
    """A tokenizer of each kind."""
    if request.param != "byte-bpe":
        return tokenizer
    out = tmp_path_factory.mktemp("tokenizer") / "tokenizer"
    texts = [text for pair in PAIRS for text in pair]
    return train_tokenizer(
        texts, vocab_size=280, character_coverage=1.0, config={}, inputs={}, out=out, kind="byte-bpe"
    )


PAIRS = [
    ("The tiger", " burns"),
    ("The tiger ", "burns"),
    ("The tiger\n\n", " burns"),
    ("", "burning bright"),
    ("Tyger Ty", "ger"),  # a token may span the join
    ("The tiger burns" * 30, " in the night"),
    ("The tiger", " burns"),
]


def requests(*arguments: tuple[Any, ...]) -> list[Any]:
    return [SimpleNamespace(args=one) for one in arguments]


def test_likelihoods_are_those_of_the_harness_protocol(any_tokenizer: Tokenizer) -> None:
    backend = HashBackend(any_tokenizer, longest=40)
    model = HarnessModel(backend)
    joined = join(any_tokenizer, PAIRS, "jointly", longest=40)
    expected = score_all(backend, joined)
    assert model.loglikelihood(requests(*PAIRS), disable_tqdm=True) == [(one.logprob, one.greedy) for one in expected]
    assert [model.likelihoods[pair] for pair in PAIRS] == expected
    assert any(one.cut for one in expected)
    assert model.size(PAIRS[0]) == sum(len(part) for part in joined[0].pairs[0])


def test_a_continuation_without_tokens_of_its_own_does_not_end_it(tokenizer: Tokenizer) -> None:
    model = HarnessModel(HashBackend(tokenizer))
    [(logprob, _)] = model.loglikelihood(requests(("The tiger", " ")), disable_tqdm=True)
    assert logprob < 0


def test_whole_texts_are_read_in_the_harness_windows(any_tokenizer: Tokenizer) -> None:
    text = "Tyger Tyger, burning bright,\nIn the forests of the night;\n" * 6
    backend = HashBackend(any_tokenizer, longest=16)
    ids = any_tokenizer.encode(text)
    windows = map(make_disjoint_window, get_rolling_token_windows(ids, any_tokenizer.bos_id, 16, 1))
    pairs = [(tuple(context), tuple(continuation)) for context, continuation in windows]
    expected = sum(score.total for score in backend.score(pairs))
    [found] = HarnessModel(backend).loglikelihood_rolling(requests((text,)))
    assert found == pytest.approx(expected, rel=1e-12)
    assert len(pairs) > 3


def test_a_prompt_that_is_asked_several_times_has_several_seeds(tokenizer: Tokenizer) -> None:
    backend = HashBackend(tokenizer)
    model = HarnessModel(backend)
    options = {"until": ["\n"], "do_sample": True, "temperature": 0.5, "max_gen_toks": 7}
    texts = model.generate_until(requests(("A", options), ("A", options), ("B", options)))
    assert [request.sampling.seed for request in backend.requests] == [0, 1, 0]
    assert {request.max_tokens for request in backend.requests} == {7}
    assert [one.text for one in model.written["A"]] == texts[:2]
    assert model.size(("A", options)) == len(backend.requests[0].prompt) + 1


@pytest.mark.parametrize(
    ("options", "temperature"),
    [
        ({}, 0.0),
        ({"temperature": 0.7}, 0.7),
        ({"do_sample": False, "temperature": 0.7}, 0.0),
        ({"do_sample": True, "temperature": 0.2}, 0.2),
    ],
)
def test_texts_are_greedy_unless_a_task_asks_for_sampling(options: dict[str, Any], temperature: float) -> None:
    ask = write_of("A", options, seed=3)
    assert (ask.temperature, ask.max_tokens, ask.seed) == (temperature, LONGEST_ANSWER, 3)


def test_where_texts_end_may_be_one_text_or_several() -> None:
    assert write_of("A", {"until": "\n"}, seed=0).stop == ("\n",)
    assert write_of("A", {"until": ["\n", ""]}, seed=0).stop == ("\n",)
