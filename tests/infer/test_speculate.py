from collections import Counter

import pytest
import torch
from engine_twin import plain_completion, same
from fake_runner import FakeRunner, fake_logits
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from puna.core.errors import GenerateError
from puna.infer.engine import Engine
from puna.infer.requests import Completion, Request, Sampling
from puna.infer.speculate import Drafter, DraftModel, PromptLookup, continuation


class Distilled(FakeRunner):
    """A draft model that nearly says what the model says: the model's logits and some noise of its own."""

    noise = 0.5

    def of(self, tokens: list[int]) -> Tensor:
        logits_V = super().of(tokens)
        return logits_V + fake_logits([len(tokens)], len(logits_V), scale=self.noise)


def engines(**settings: int) -> dict[str, Engine]:
    """One without speculation, and one with each kind."""
    plain, model, small, echo = FakeRunner(), FakeRunner(), Distilled(), FakeRunner()
    limits = {"max_rows": 16, "max_requests": 4, **settings}
    return {
        "none": Engine(plain, **limits),
        "model": Engine(model, **limits, drafter=DraftModel(small, model)),
        "lookup": Engine(echo, **limits, drafter=PromptLookup()),
    }


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0),
        Sampling(),
        Sampling(temperature=0.7, top_p=0.8),
        Sampling(repetition_penalty=1.3, presence_penalty=0.5, frequency_penalty=0.5, logit_bias={3: 2.0}),
    ],
    ids=["greedy", "plain", "nucleus", "penalties"],
)
def test_texts_and_log_probabilities_are_the_same_with_speculation_and_without(sampling: Sampling) -> None:
    requests = [
        Request(prompt=(1, 2, 3, 1, 2, *range(n)), max_tokens=20 + n, n=2, logprobs=1, sampling=sampling)
        for n in range(5)
    ]
    found = {name: engine.generate(requests) for name, engine in engines().items()}
    for name in ("model", "lookup"):
        assert all(same(one, other) for one, other in zip(found[name], found["none"], strict=True))
    guessed = found["model"]
    accepted, proposed = (sum(getattr(one, f"{kind}_tokens") for one in guessed) for kind in ("accepted", "proposed"))
    assert 0.3 < accepted / proposed < 1
    assert all(one.proposed_tokens == 0 for one in found["none"])


def test_a_draft_model_that_is_the_model_is_always_right_and_saves_its_steps() -> None:
    model, same_model = FakeRunner(), FakeRunner()
    engine = Engine(model, drafter=DraftModel(same_model, model, tokens=4))
    (found,) = engine.generate([Request(prompt=(1, 2, 3), max_tokens=25)])
    assert found.accepted_tokens == found.proposed_tokens == 20
    assert model.wanted == 25
    # The draft never computes a position twice: three of the prompt, and all but the last two of the text.
    assert same_model.computed == 3 + 23


def test_guesses_at_what_repeats_are_right() -> None:
    class Cycle(FakeRunner):
        def of(self, tokens: list[int]) -> Tensor:
            return torch.nn.functional.one_hot(torch.tensor(len(tokens) % 7), 50).float() * 50

    engine = Engine(Cycle(), drafter=PromptLookup(tokens=5))
    (found,) = engine.generate([Request(prompt=(0, 1, 2, 3, 4, 5, 6, 0, 1, 2), max_tokens=24)])
    assert [token.id for token in found.tokens] == [(position + 3) % 7 for position in range(24)]
    assert (found.proposed_tokens, found.accepted_tokens) == (20, 20)


def test_a_prefix_that_was_found_counts_for_the_draft_model_too() -> None:
    model, small = FakeRunner(page_size=4), FakeRunner(page_size=4)
    engine = Engine(model, drafter=DraftModel(small, model))
    prompt = tuple(range(1, 18))
    engine.generate([Request(prompt=prompt, max_tokens=3)])
    before = small.computed
    (found,) = engine.generate([Request(prompt=prompt, max_tokens=3)])
    assert found.cached_tokens == 16
    assert small.computed - before == 1 + 1
    assert found.accepted_tokens == found.proposed_tokens == 2


def test_behind_its_context_a_draft_model_is_silent() -> None:
    model, small = FakeRunner(context=64), FakeRunner(context=20)
    (alone,) = Engine(FakeRunner(context=64)).generate([Request(prompt=(1, 2), max_tokens=60)])
    (found,) = Engine(model, drafter=DraftModel(small, model)).generate([Request(prompt=(1, 2), max_tokens=60)])
    assert found.tokens == alone.tokens
    assert 10 < found.proposed_tokens < 20


@pytest.mark.parametrize("vocabulary", [40, 60])
def test_a_draft_model_may_have_a_few_ids_more_or_less(vocabulary: int) -> None:
    model, small = FakeRunner(vocab_size=50), FakeRunner(vocab_size=vocabulary)
    request = Request(prompt=(1, 2), max_tokens=20, sampling=Sampling(logit_bias={45: 1.0}, frequency_penalty=0.1))
    (found,) = Engine(model, drafter=DraftModel(small, model)).generate([request])
    assert same(found, Engine(FakeRunner()).generate([request])[0])


def test_a_draft_model_whose_logits_are_not_finite_guesses_nothing() -> None:
    class Broken(FakeRunner):
        def of(self, tokens: list[int]) -> Tensor:
            return torch.full((50,), float("nan"))

    model = FakeRunner()
    (found,) = Engine(model, drafter=DraftModel(Broken(), model)).generate([Request(prompt=(1, 2), max_tokens=9)])
    assert (len(found.tokens), found.proposed_tokens) == (9, 0)


def test_pages_of_both_models_must_agree() -> None:
    with pytest.raises(GenerateError, match="has 64 pages of 4 positions, but must have 64 of 8"):
        DraftModel(FakeRunner(), FakeRunner(page_size=8))


@given(st.lists(st.integers(0, 3) | st.sampled_from([256, 2**40]), max_size=40))
def test_a_continuation_is_what_followed_the_last_earlier_place_of_the_longest_end(tokens: list[int]) -> None:
    expected: list[int] = []
    for length in (3, 2):
        places = [p for p in range(len(tokens) - length) if tokens[p : p + length] == tokens[len(tokens) - length :]]
        if len(tokens) > length and places:
            expected = tokens[places[-1] + length :]
            break
    assert continuation(tokens) == expected


def drafter_of(kind: str, model: FakeRunner) -> Drafter | None:
    if kind == "none":
        return None
    return PromptLookup() if kind == "lookup" else DraftModel(Distilled(vocab_size=6, scale=1.0), model)


@pytest.mark.parametrize("kind", ["none", "model", "lookup"])
def test_tokens_that_are_guessed_are_distributed_as_the_model_says(kind: str) -> None:
    # Pairs of tokens after one prompt, over many seeds: Pearson's statistic against the product of the softmaxes.
    draws = 1500
    model = FakeRunner(vocab_size=6, scale=1.0)
    engine = Engine(model, max_requests=50, drafter=drafter_of(kind, model))
    request = Request(prompt=(1, 2, 1, 2, 1), max_tokens=4, n=draws)
    found: list[Completion] = engine.generate([request])
    counts = Counter(tuple(token.id for token in one.tokens[:2]) for one in found)
    first_V = fake_logits([1, 2, 1, 2, 1], 6, scale=1.0).softmax(-1)
    statistic = 0.0
    for first in range(6):
        second_V = fake_logits([1, 2, 1, 2, 1, first], 6, scale=1.0).softmax(-1)
        for second in range(6):
            expected = draws * float(first_V[first] * second_V[second])
            statistic += (counts[first, second] - expected) ** 2 / expected
    assert statistic < 35 + 4 * (2 * 35) ** 0.5  # 35 degrees of freedom, four standard deviations
    if kind != "none":
        assert sum(one.accepted_tokens for one in found) > 50


def test_preemption_stops_and_guesses_together_write_what_whole_passes_write() -> None:
    model = FakeRunner(pages=9, page_size=4)
    engine = Engine(
        model, max_rows=12, max_requests=4, drafter=DraftModel(Distilled(pages=9, page_size=4), model, tokens=3)
    )
    requests = [
        Request(prompt=(1, 2, n), max_tokens=25, stop_ids=frozenset([7]), sampling=Sampling(seed=n)) for n in range(8)
    ]
    found = engine.generate(requests)
    assert engine._scheduler.preemptions > 0
    for one, request in zip(found, requests, strict=True):
        assert same(one, plain_completion(lambda tokens: fake_logits(tokens, 50), request, 0, 36))


def test_a_draft_model_reads_what_a_found_page_does_not_hold_of_it():
    """The first text is longer than the draft model's context, so that its pages hold nothing of that model."""
    begun = (1, 2, 3, 4, 5, 6, 7, 8)
    model = FakeRunner(pages=12, page_size=4, context=32)
    small = FakeRunner(pages=12, page_size=4, context=14)
    engine = Engine(model, drafter=DraftModel(small, model, tokens=3), max_rows=24, max_requests=2)
    long = Request(prompt=(*begun, *range(9, 17)), max_tokens=2, sampling=Sampling(temperature=0))
    engine.generate([long])
    assert small.computed == 0
    (after,) = engine.generate([Request(prompt=(*begun, 9), max_tokens=4, sampling=Sampling(temperature=0))])
    assert after.cached_tokens == 8
    assert after.proposed_tokens > 0


def test_a_page_that_is_copied_while_a_draft_model_is_silent_holds_nothing_of_it() -> None:
    """The second text begins as the first, to the middle of a page, and is longer than the draft model's context."""
    begun = (1, 2, 3, 4, 5, 6)
    model = FakeRunner(pages=16, page_size=4, context=32)
    small = FakeRunner(pages=16, page_size=4, context=14)
    engine = Engine(model, drafter=DraftModel(small, model, tokens=3), max_rows=24, max_requests=2)

    def ask(*prompt: int) -> Completion:
        (done,) = engine.generate([Request(prompt=prompt, max_tokens=4, sampling=Sampling(temperature=0))])
        return done

    assert ask(*begun, 7).proposed_tokens > 0
    assert ask(*begun, *range(20, 32)).cached_tokens == 6
    third = ask(*begun, 20, 21, 40)
    assert third.cached_tokens == 8
    assert third.proposed_tokens > 0
