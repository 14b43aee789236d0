"""Options are compared by what a metric says, ties go to the first."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.evaluate.example import Answer, Choose, Continue, Example, Likelihood, Option
from puna.evaluate.judging import Norm, best, choose_by, scores

TEXTS = ("aa", "bbbb", "ü", "")


def asked(gold: tuple[int, ...] = (0,), own: bool = False) -> Choose:
    options = tuple(Option(context="Q", continuation=" " + text, text=text) for text in TEXTS)
    return Choose(options=options, gold=gold, own=tuple(("Answer:", " " + text) for text in TEXTS) if own else ())


def likelihoods(*logprobs: float) -> tuple[Likelihood, ...]:
    return tuple(Likelihood(logprob=of, tokens=at + 1, greedy=False) for at, of in enumerate(logprobs))


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        ("sum", [-2.0, -4.0, -3.0, -8.0]),
        ("character", [-1.0, -1.0, -3.0, -math.inf]),
        ("byte", [-1.0, -1.0, -1.5, -math.inf]),
        ("token", [-2.0, -2.0, -1.0, -2.0]),
        ("own", [-1.0, -1.0, 1.0, -6.0]),
    ],
)
def test_a_likelihood_is_divided_as_its_norm_says(norm: Norm, expected: list[float]) -> None:
    answer = Answer(likelihoods=likelihoods(-2, -4, -3, -8), own=likelihoods(-1, -3, -4, -2))
    assert scores(asked(own=True), answer, norm) == expected


def test_each_metric_chooses_for_itself_and_shows_its_option() -> None:
    example = Example(id="0", ask=asked(gold=(1,)))
    answer = Answer(likelihoods=likelihoods(-2, -3, -3, -8))
    judge = choose_by(acc="sum", acc_norm="character", acc_byte="byte")
    assert judge(example, answer) == (
        {"acc": 0.0, "acc_norm": 1.0, "acc_byte": 1.0}, {"chosen": {"acc": 0, "acc_norm": 1, "acc_byte": 1}},
    )  # fmt: skip


def test_any_of_several_right_options_counts() -> None:
    for gold, value in (((2, 3), 1.0), ((0, 1), 0.0)):
        answer = Answer(likelihoods=likelihoods(-4, -3, -2, -8))
        assert choose_by(acc="sum")(Example(id="0", ask=asked(gold=gold)), answer)[0] == {"acc": value}


@given(st.lists(st.sampled_from([-3.0, -2.0, -1.0, -math.inf]), min_size=1, max_size=8))
def test_the_first_of_the_largest_is_the_best(numbers: list[float]) -> None:
    assert best(numbers) == numbers.index(max(numbers))


def test_a_judge_of_options_refuses_what_has_none() -> None:
    example = Example(id="7", ask=Continue(context="a", target=" b", text="b"))
    with pytest.raises(TypeError, match="document 7: asks Continue, but this judge compares options"):
        choose_by(acc="sum")(example, Answer(likelihoods=likelihoods(-1)))
