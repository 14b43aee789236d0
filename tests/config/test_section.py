"""The kinds of values: counts as people write them, sizes that fit, names that can be directories."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from puna.config.section import ConflictError, Count, Positive, Section, SourceName


class Example(Section):
    """A section with each kind of value."""

    count: Count = 1
    positive: Positive = 1
    number: float = 1.0
    flag: bool = True
    named: dict[SourceName, int] = Field(default={})


@pytest.mark.parametrize(("value", "count"), [(20, 20), ("20k", 20_000), ("1.2T", 1_200_000_000_000)])
def test_count_may_be_written_with_a_letter(value: int | str, count: int) -> None:
    assert Example.model_validate({"count": value}).count == count


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("count", 0), ("count", "0"), ("count", 2**63), ("count", "9223372036854775808"), ("count", 1.0),
        ("count", True), ("count", "many"), ("positive", 0), ("positive", 2**31), ("positive", "1"), ("positive", True),
        ("number", float("nan")), ("number", float("inf")), ("number", float("-inf")), ("number", "1"),
        ("number", 10**400), ("number", True), ("flag", 1), ("flag", "true"), ("unknown", 1),
        ("named", {"a/b": 1}), ("named", {"..": 1}), ("named", {"": 1}), ("named", {"a.b": 1}), ("named", {"a\n": 1}),
    ],
)  # fmt: skip
def test_other_values_are_refused_and_none_is_converted(field: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        Example.model_validate({field: value})


def test_a_section_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Example().number = 2.0  # pyrefly: ignore


@given(st.integers(1, 2**63 - 1), st.integers(1, 2**31 - 1), st.floats(allow_nan=False, allow_infinity=False))
def test_every_value_in_range_is_kept(count: int, positive: int, number: float) -> None:
    section = Example(count=count, positive=positive, number=number)
    assert (section.count, section.positive, section.number) == (count, positive, number)


def test_conflicts_are_one_sentence_each() -> None:
    error = ConflictError([("a is not b", ["a", "b"]), ("c is odd", ["c"])])
    assert str(error) == "a is not b; c is odd"
    assert error.conflicts[1] == ("c is odd", ["c"])
