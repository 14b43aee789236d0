"""Templates look up fields of a row and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.core.errors import EvaluateError
from puna.evaluate.template import Template, value_of

ROW = {"q": "Why?", "n": 3, "choices": {"text": ["yes", "no"]}, "long name": "x", "flag": True}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("Q: {q}\nA:", "Q: Why?\nA:"),
        ("{n}{long name}", "3x"),
        ("{choices.text.1}", "no"),
        ("{{q}} {{{q}}}", "{q} {Why?}"),
        ("", ""),
    ],
)
def test_fields_are_filled_in(template: str, text: str) -> None:
    assert Template(template).fill(ROW) == text


@pytest.mark.parametrize("template", ["{", "a}", "{}", "{q!r}", "{q:>10}", "{q.__class__.}", "{q[0]}", "{{q}"])
def test_what_is_not_a_field_is_refused(template: str) -> None:
    with pytest.raises(EvaluateError, match="is not a field"):
        Template(template)


@pytest.mark.parametrize(
    "field", ["x", "q.upper", "q.0", "choices.text.2", "choices.text.first", "n.real", "q.__class__"]
)
def test_a_field_that_is_not_there_is_named(field: str) -> None:
    with pytest.raises(KeyError, match=field):
        Template(f"{{{field}}}").fill(ROW)
    with pytest.raises(KeyError):
        value_of(ROW, field)


def test_only_texts_and_numbers_are_filled_in() -> None:
    for field in ("choices", "flag"):
        with pytest.raises(TypeError, match=f"field '{field}' is .*, expected a text or a number"):
            Template(f"{{{field}}}").fill(ROW)


@given(st.text())
def test_any_text_is_a_template_of_itself_once_its_braces_are_doubled(text: str) -> None:
    assert Template(text.replace("{", "{{").replace("}", "}}")).fill({}) == text


@given(st.text(alphabet="{}ab.", max_size=12))
def test_any_text_is_filled_or_refused(text: str) -> None:
    try:
        template = Template(text)
    except EvaluateError:
        return
    try:
        template.fill({"a": "1", "b": "2"})
    except KeyError:
        assert "{" in text
