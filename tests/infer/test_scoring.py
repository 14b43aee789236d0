"""Scores of many continuations against whole passes over each pair alone, and how many rows they cost."""

import math
from collections.abc import Iterator

import pytest
import torch
from fake_runner import FakeRunner, fake_logits
from hypothesis import given
from hypothesis import strategies as st

from puna.core.errors import GenerateError
from puna.infer import scoring
from puna.infer.engine import Engine
from puna.infer.requests import Request, Score
from puna.infer.scoring import Pair

VOCABULARY = 6
CONTEXT = 24


def alone(pair: Pair, vocab_size: int = VOCABULARY) -> Score:
    """The score of a pair by a whole pass for each token."""
    context, continuation = pair
    rows = [fake_logits([*context, *continuation[:place]], vocab_size) for place in range(len(continuation))]
    logprobs = [float(torch.log_softmax(row, -1)[token]) for row, token in zip(rows, continuation, strict=True)]
    return Score(logprobs=tuple(logprobs), greedy=all(
        int(row.argmax()) == token for row, token in zip(rows, continuation, strict=True)
    ))  # fmt: skip


@st.composite
def pairs(draw: st.DrawFn) -> list[Pair]:
    """Contexts that begin alike, some with several continuations, some of which begin alike or stand there twice."""
    token = st.integers(0, VOCABULARY - 1)
    common = draw(st.lists(token, min_size=1, max_size=12))
    contexts = draw(st.lists(st.tuples(st.integers(1, 12), st.lists(token, max_size=4)), min_size=1, max_size=5))
    texts = [(*common[:cut], *own) for cut, own in contexts]
    continuations = st.lists(token, max_size=7).map(tuple)
    return draw(st.lists(st.tuples(st.sampled_from(texts), continuations), min_size=1, max_size=14))


@given(
    asked=pairs(), page_size=st.integers(1, 6), spare=st.integers(0, 12), max_requests=st.integers(1, 5),
    extra_rows=st.integers(0, 9), busy=st.booleans(),
)  # fmt: skip
def test_every_score_is_that_of_the_pair_alone(
    asked: list[Pair], page_size: int, spare: int, max_requests: int, extra_rows: int, busy: bool
) -> None:
    """The cache may be barely enough for one text, and others may be written at the same time."""
    pages = -(-CONTEXT // page_size) + spare
    runner = FakeRunner(pages=pages, page_size=page_size, vocab_size=VOCABULARY, context=CONTEXT)
    engine = Engine(runner, max_rows=max_requests + extra_rows, max_requests=max_requests)
    beside = Request(prompt=asked[0][0], max_tokens=8)
    stream = engine.stream([beside, beside] if busy else [])
    if busy:
        next(stream)
    assert engine.score(asked) == [alone(pair) for pair in asked]
    written = [event.token for event in stream if event.token is not None and event.request == 0]
    if busy:
        (expected,) = Engine(FakeRunner(vocab_size=VOCABULARY, context=CONTEXT)).generate([beside])
        assert written[-1] == expected.tokens[-1]
    assert engine._pages.available == pages
    assert not engine.busy


def test_a_question_with_letters_to_choose_from_takes_its_own_rows_once() -> None:
    runner = FakeRunner(page_size=4, vocab_size=50)
    solved = tuple(range(1, 31))  # ends inside of a page
    questions = [(*solved, 31 + number, 40, 41, 42) for number in range(5)]
    asked = [(question, (letter,)) for question in questions for letter in (10, 11, 12, 13)]
    assert Engine(runner, max_rows=64, max_requests=1).score(asked) == [alone(pair, 50) for pair in asked]
    assert runner.computed == 30 + 5 * 4
    assert runner.wanted == 5


def test_a_context_with_one_continuation_is_one_request() -> None:
    runner = FakeRunner(vocab_size=50)
    asked = [((1, 2, 3), (4, 5)), ((9, 8), (7,))]
    assert Engine(runner).score(asked) == [alone(pair, 50) for pair in asked]
    assert (runner.computed, runner.wanted) == (4 + 2, 3)


def test_the_same_pair_twice_is_computed_once() -> None:
    runner = FakeRunner(vocab_size=50)
    (one, other) = Engine(runner).score([((1, 2, 3), (4, 5))] * 2)
    assert one == other == alone(((1, 2, 3), (4, 5)), 50)
    assert runner.computed == 4


def test_pairs_of_an_iterator_are_taken_in_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "TOGETHER", 20)
    taken = 0

    def many() -> Iterator[Pair]:
        nonlocal taken
        for number in range(50):
            taken += 1
            yield (1, number % 7), (number % 5,)

    found = []
    for score in scoring.scores(Engine(FakeRunner(vocab_size=50)), many()):
        found.append(score)
        assert taken <= len(found) + 7
    assert found == [alone(((1, number % 7), (number % 5,)), 50) for number in range(50)]


def test_a_score_that_is_not_finite_is_an_error() -> None:
    class Damaged(FakeRunner):
        def of(self, tokens: list[int]) -> torch.Tensor:
            return fake_logits(tokens, self.config.vocab_size) * (math.nan if len(tokens) == 4 else 1)

    engine = Engine(Damaged(vocab_size=50))
    assert len(engine.score([((1, 2), (3, 4))])) == 1
    with pytest.raises(GenerateError, match="not finite"):
        engine.score([((1, 2, 3, 4), (5,)), ((1, 2, 3, 4), (6,))])
    assert engine._pages.available == 64
