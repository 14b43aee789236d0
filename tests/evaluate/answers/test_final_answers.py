"""Minerva's form, with lm-evaluation-harness's own function as referee."""

from types import ModuleType

import pytest
from benchmark_rows import Rows
from harness_module import harness_module
from hypothesis import example, given
from hypothesis import strategies as st
from latex_pieces import PIECES

from puna.evaluate.answers.boxed import boxed
from puna.evaluate.answers.final_answers import final_answer, one_form


@pytest.fixture(scope="module")
def referee() -> ModuleType:
    return harness_module("minerva_math/utils.py")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("So it is.\nFinal Answer: The final answer is $24$. I hope it is correct.", "$24$"),
        ("Final Answer: The final answer is $24$. ", "$24$"),
        ("The final answer is 2.5.", "2.5"),
        ("The final answer is 2.5\nand more. I hope it is correct.", "2.5"),
        ("The final answer is 1. I hope it is correct. The final answer is 2.", "1"),
        ("The final answer is . I hope it is correct.", None),
        ("The final answer is", None),
        ("It is 24.", None),
    ],
)
def test_the_answer_follows_its_sentence(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        ("$24$", "24"),
        (r"x = \frac12", r"\frac{1}{2}"),
        ("12,000 dollars", "12000"),
        ("0,1", "0,1"),
        (r"90^\circ", "90"),
        (r"2\pi cm", r"2\pi"),
        (r"\left(1, 2\right)", r"\left(1,2\right)"),
        (r"\text{even}", "even"),
        (r"\sqrt3", r"\sqrt{3}"),
        (r"\sqrt[3]8", r"\sqrt[3]{8}"),
        ("", ""),
    ],
)
def test_answers_have_one_form(answer: str, form: str, referee: ModuleType) -> None:
    assert one_form(answer) == form == referee.normalize_final_answer(answer)


@given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join))
@example("a $1$ b $2$ c")
@example("\\mbox{ a}\n")
def test_forms_are_those_of_the_harness(text: str) -> None:
    assert one_form(text) == harness_module("minerva_math/utils.py").normalize_final_answer(text)


def test_answers_of_the_whole_test_set_have_the_harness_s_form(real_rows: Rows, referee: ModuleType) -> None:
    answers = [boxed(row["solution"]) or "" for row in real_rows("math", "test")]
    assert [one_form(answer) for answer in answers] == [referee.normalize_final_answer(answer) for answer in answers]
