"""LAMBADA, with lm-evaluation-harness as referee."""

import math

import pytest
from benchmark_rows import Rows
from referee import Fake, Referee, by_us

from puna.evaluate.example import Continue
from puna.evaluate.tasks.last_word import TASKS

(TASK,) = TASKS
ROWS = [
    {"text": f'"Is that the {number}th one?" she asked, and looked at the  old  clock{mark}'}
    for number, mark in enumerate(("", ".", "'s", '"'))
]


@pytest.mark.oracle
def test_requests_accuracy_and_perplexity_are_the_harness_s() -> None:
    model = Fake(greedy=lambda context, continuation: continuation.isalnum() or "." in continuation)
    ours, theirs = by_us(TASK, ROWS, model=model), Referee("lambada/lambada_openai.yaml", {"test": ROWS}, model=model)
    assert ours.requests() == theirs.requests()
    scores = theirs.scores()
    assert ours.scores()["acc"] == scores["acc,none"] == 0.25
    assert ours.scores()["perplexity"] == pytest.approx(scores["perplexity,none"], rel=1e-12)


@pytest.mark.oracle
def test_real_passages_are_asked_and_scored_as_by_the_harness(real_rows: Rows) -> None:
    rows = real_rows("lambada_openai", "test", 300)
    ours, theirs = by_us(TASK, rows), Referee("lambada/lambada_openai.yaml", {"test": rows})
    assert ours.requests() == theirs.requests()
    assert ours.scores()["acc"] == theirs.scores()["acc,none"]
    assert ours.scores()["perplexity"] == pytest.approx(theirs.scores()["perplexity,none"], rel=1e-12)


def test_everything_after_the_last_space_is_the_word() -> None:
    ask = TASK.example({"text": "a clear  stone"}, (), "0").ask
    assert ask == Continue(context="a clear ", target=" stone", text="stone")


def test_perplexity_of_no_documents_is_missing() -> None:
    figure = TASK.metrics["perplexity"]([], "perplexity")
    assert (figure.value, figure.n) == (None, 0)


def test_perplexity_is_that_of_words_and_not_of_tokens() -> None:
    ours = by_us(TASK, ROWS)
    logprobs = [one.values["logprob"] for one in ours.judged()]
    assert ours.scores()["perplexity"] == pytest.approx(math.exp(-sum(filter(None, logprobs)) / len(ROWS)))
