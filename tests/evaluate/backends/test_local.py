from collections.abc import Callable

import pytest
from engine_twin import plain_completion
from fake_runner import FakeRunner, fake_logits

from puna.core.errors import GenerateError
from puna.evaluate.backends.local import LocalBackend
from puna.infer.engine import Engine
from puna.infer.requests import Request, Sampling
from puna.tokenizer.tokenizer import Tokenizer


@pytest.fixture
def runner(tokenizer: Tokenizer) -> FakeRunner:
    return FakeRunner(vocab_size=tokenizer.vocab_size)


@pytest.fixture
def backend(runner: FakeRunner, tokenizer: Tokenizer) -> LocalBackend:
    return LocalBackend(Engine(runner, tokenizer, max_rows=8, max_requests=4), tokenizer)


def test_a_score_is_that_of_the_model(backend: LocalBackend, tokenizer: Tokenizer) -> None:
    (score,) = backend.score([((1, 300, 301), (302, 303))])
    first, second = (fake_logits(tokens, tokenizer.vocab_size).log_softmax(-1) for tokens in
                     ([1, 300, 301], [1, 300, 301, 302]))  # fmt: skip
    assert score.logprobs == pytest.approx((float(first[302]), float(second[303])), abs=1e-6)
    assert score.greedy == (int(first.argmax()) == 302 and int(second.argmax()) == 303)


def test_samples_come_by_request_in_order(backend: LocalBackend, runner: FakeRunner, tokenizer: Tokenizer) -> None:
    requests = [
        Request(prompt=(1, 300 + place), max_tokens=6 + place, n=n, sampling=Sampling(seed=place), stop=("e",))
        for place, n in enumerate((2, 1, 3))
    ]
    found = backend.write(requests)
    for request, samples in zip(requests, found, strict=True):
        assert len(samples) == request.n
        for sample, written in enumerate(samples):
            expected = plain_completion(runner.of, request, sample, 64, tokenizer)
            assert (written.text, written.tokens, written.finish) == (
                expected.text, len(expected.tokens), expected.finish
            )  # fmt: skip


def test_what_records_name_is_the_engines(backend: LocalBackend, tokenizer: Tokenizer) -> None:
    assert (backend.title, backend.exact, backend.longest) == ("random numbers", True, 64)
    assert backend.tokenizer is tokenizer


class Damaged(FakeRunner):
    """A model whose weights are not numbers."""

    def of(self, tokens: list[int]) -> "object":
        return fake_logits(tokens, self.config.vocab_size) * float("nan")


@pytest.mark.parametrize(
    "ask",
    [
        lambda backend: backend.score([((1, 2), (3,))]),
        lambda backend: backend.write([Request(prompt=(1, 2), max_tokens=3)]),
    ],
)
def test_a_damaged_model_is_an_error_and_not_a_low_score(
    tokenizer: Tokenizer, ask: Callable[[LocalBackend], object]
) -> None:
    damaged = Damaged(vocab_size=tokenizer.vocab_size)
    with pytest.raises(GenerateError, match="not finite"):
        ask(LocalBackend(Engine(damaged, tokenizer), tokenizer))
