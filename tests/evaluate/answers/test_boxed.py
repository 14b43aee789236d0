"""Boxes and Hendrycks's form, with lm-evaluation-harness's own functions as referee."""

from collections.abc import Callable
from types import ModuleType

import pytest
from benchmark_rows import Rows
from harness_module import harness_module
from hypothesis import given
from hypothesis import strategies as st
from latex_pieces import PIECES

from puna.evaluate.answers.boxed import boxed, equal_texts, plain_form


@pytest.fixture(scope="module")
def referee() -> ModuleType:
    return harness_module("hendrycks_math/utils.py")


def theirs(function: Callable[..., str], *texts: str) -> str | None:
    """What it returns, or None where it fails, of which `is_equiv` then makes a comparison of the texts."""
    try:
        return function(*texts)
    except Exception:
        return None


def ours(text: str) -> str | None:
    try:
        return plain_form(text)
    except ValueError:
        return None


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        (r"so $x = \boxed{5}$.", "5"),
        (r"\boxed{1} and then \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed 7$ is it", "7"),
        (r"\fbox{3}", "3"),
        (r"\boxed{{a}{b}} c}", "{a}{b}"),
        (r"\boxed{open", None),
        (r"\boxed", None),
        ("none", None),
    ],
)
def test_the_answer_is_in_the_last_box(solution: str, answer: str | None) -> None:
    assert boxed(solution) == answer


@given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join))
def test_boxes_and_forms_are_those_of_the_harness(text: str) -> None:
    referee = harness_module("hendrycks_math/utils.py")
    assert ours(text) == theirs(referee.strip_string, text)
    box = theirs(lambda: referee.remove_boxed(referee.last_boxed_only_string(text)))
    assert box is None or boxed(text) == box


def test_a_removed_sign_can_make_another_one(referee: ModuleType) -> None:
    text = r" \\\%%0.5"
    assert plain_form(text) == referee.strip_string(text) == r"\frac{1}{2}"


SHORT = st.lists(st.sampled_from(PIECES), max_size=4).map("".join)


@given(one=SHORT, other=SHORT)
def test_equality_is_that_of_the_harness(one: str, other: str) -> None:
    assert equal_texts(one, other) == harness_module("hendrycks_math/utils.py").is_equiv(one, other)


def test_answers_of_the_whole_test_set_have_the_harness_s_form(real_rows: Rows, referee: ModuleType) -> None:
    solutions = [row["solution"] for row in real_rows("math", "test")]
    answers = [boxed(solution) for solution in solutions]
    assert len(answers) == 5000
    boxes = [referee.remove_boxed(referee.last_boxed_only_string(solution)) for solution in solutions]
    assert answers == boxes
    assert [ours(answer) for answer in boxes] == [theirs(referee.strip_string, answer) for answer in boxes]
