"""Votes, and the estimator of pass@k against the mean over all draws."""

import itertools
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.evaluate.answers.voting import majority, pass_at


@pytest.mark.parametrize(
    ("answers", "chosen"),
    [
        (["1", "2", "2"], "2"),
        (["1", "2", "2", "1"], "1"),  # The first among equals.
        (["2", "1", "1", "2"], "2"),
        ([None, None, None, "7"], "7"),
        ([None, "3", None, "3", "4"], "3"),
        ([None, None], None),
        ([], None),
    ],
)
def test_the_answer_with_most_votes_wins_and_none_is_not_a_vote(answers: list[str | None], chosen: str | None) -> None:
    assert majority(answers) == chosen


def test_answers_that_say_the_same_vote_together_under_the_first_spelling() -> None:
    def same(one: str, other: str) -> bool:
        return float(one) == float(other)

    assert majority(["3", "0.5", "3.0", ".5", "0.50", None], same) == "0.5"
    assert majority(["3", "0.5", "3.0", ".5", "0.50"]) == "3"


@given(st.lists(st.sampled_from([None, "a", "b", "c"]), max_size=12))
def test_the_majority_is_the_mode(answers: list[str | None]) -> None:
    votes = [answer for answer in answers if answer is not None]
    assert majority(answers) == (statistics.mode(votes) if votes else None)


@given(samples=st.integers(1, 8), data=st.data())
def test_the_estimator_is_the_mean_over_all_draws_of_k_samples(samples: int, data: st.DataObject) -> None:
    right, k = data.draw(st.integers(0, samples)), data.draw(st.integers(1, samples))
    passed = [place < right for place in range(samples)]
    drawn = [any(draw) for draw in itertools.combinations(passed, k)]
    assert pass_at(k, samples=samples, right=right) == pytest.approx(statistics.mean(drawn))


def test_the_estimator_has_the_values_of_chen_et_al_s_own_code() -> None:
    """`1 - prod(1 - k / arange(n - c + 1, n + 1))`, figure 3 of arXiv:2107.03374."""
    for samples, right, k in [(200, 3, 100), (200, 120, 100), (200, 1, 1), (80, 1, 80), (80, 0, 80), (1000, 17, 10)]:
        product = 1.0
        for number in range(samples - right + 1, samples + 1):
            product *= 1 - k / number
        expected = 1.0 if samples - right < k else 1 - product
        assert pass_at(k, samples=samples, right=right) == pytest.approx(expected, rel=1e-12)


def test_more_draws_than_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="pass@3 of 2 samples"):
        pass_at(3, samples=2, right=1)
