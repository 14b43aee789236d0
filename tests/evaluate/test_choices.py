"""From the parts of a question to what a model is asked."""

import pytest

from puna.evaluate.choices import Choices, asks
from puna.evaluate.example import Option, Row

ROW = {"q": "Q1", "o": ("a", "b"), "gold": 1}


def shared(row: Row) -> Choices:
    return Choices(context=row["q"], texts=row["o"], gold=(row["gold"],), category="c")


def test_options_share_the_context_behind_header_and_solved_examples() -> None:
    example = asks(shared, header=lambda row: f"About {row['q']}\n", between="|")(ROW, [ROW | {"q": "Q0"}], "7")
    assert example.id == "7"
    assert example.category == "c"
    assert example.ask.gold == (1,)
    assert example.ask.options == tuple(
        Option(context="About Q1\nQ0 b|Q1", continuation=" " + text, text=text) for text in "ab"
    )
    assert example.ask.own == ()


def test_options_with_contexts_of_their_own_share_the_ending() -> None:
    def blank(row: Row) -> Choices:
        return Choices(context=("x A", "x B"), texts=("end", "end"), gold=(row["gold"],))

    example = asks(blank)(ROW, [ROW], "0")
    assert [option.context for option in example.ask.options] == ["x B end\n\nx A", "x B end\n\nx B"]


@pytest.mark.parametrize("own", ["Answer:", "A"])
def test_each_option_is_asked_after_its_own_context_too(own: str) -> None:
    assert asks(shared, own=own)(ROW, (), "0").ask.own == ((own, " a"), (own, " b"))
