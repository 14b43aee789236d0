"""Means over categories weigh them the same."""

import math

import pytest

from puna.evaluate.averages import mean_of_categories
from puna.evaluate.example import Answer, Continue, Example, Judged


def judged(values: dict[str, list[float | None]]) -> list[Judged]:
    ask = Continue(context="", target=" a", text="a")
    return [
        Judged(example=Example(id=f"{name}{at}", ask=ask, category=name), answer=Answer(), values={"acc": value})
        for name, found in values.items()
        for at, value in enumerate(found)
    ]


def test_a_small_category_weighs_as_much_as_a_large_one() -> None:
    figure = mean_of_categories(judged({"large": [1.0] * 8, "small": [0.0, 0.0]}), "acc")
    assert (figure.value, figure.n, figure.missing, figure.stderr) == (0.5, 10, 0, 0.0)


def test_the_standard_error_is_that_of_a_mean_of_independent_means() -> None:
    figure = mean_of_categories(judged({"a": [0.0, 1.0], "b": [0.0, 0.0, 3.0]}), "acc")
    of_a, of_b = math.sqrt(0.5 / 2), math.sqrt(3.0 / 3)
    assert figure.value == 0.75
    assert figure.stderr == pytest.approx(math.hypot(of_a, of_b) / 2)


def test_one_category_is_the_plain_mean() -> None:
    figure = mean_of_categories(judged({"only": [0.0, 1.0, 1.0]}), "acc")
    assert figure.value == pytest.approx(2 / 3)
    assert figure.stderr == pytest.approx(1 / 3)


def test_what_could_not_be_measured_is_counted_and_is_in_no_mean() -> None:
    figure = mean_of_categories(judged({"a": [None, 1.0, 0.0], "b": [None]}), "acc")
    assert (figure.value, figure.n, figure.missing) == (0.5, 2, 2)
    nothing = mean_of_categories(judged({"b": [None]}), "acc")
    assert (nothing.value, nothing.n, nothing.missing) == (None, 0, 1)


def test_a_category_of_one_document_leaves_no_standard_error() -> None:
    assert mean_of_categories(judged({"a": [0.0, 1.0], "b": [1.0]}), "acc").stderr is None
