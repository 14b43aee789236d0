"""The environment of templates: what Hugging Face's templates expect, and nothing that reaches beyond."""

from datetime import datetime
from typing import Any

import pytest

from puna.chat.sandbox import BoundError, InvalidError, RefusedError, render

NOW = datetime(2026, 1, 31, 12, 30)


def written(template: str, most: int = 1000, **variables: Any) -> str:
    return render(template, variables, now=NOW, most=most)


def test_blocks_take_their_line_and_the_spaces_before_them_with_them() -> None:
    assert written("a\n  {% if true %}\nb\n  {% endif %}\nc\n") == "a\nb\nc"


def test_loops_can_be_left_and_go_on() -> None:
    template = "{% for n in range(9) %}{% if n == 2 %}{% continue %}{% elif n == 5 %}{% break %}{% endif %}{{ n }}"
    assert written(template + "{% endfor %}") == "0134"


def test_json_is_not_escaped_for_html_and_can_be_indented() -> None:
    assert written("{{ x | tojson }}", x={"a": "<é> & 'b'"}) == '{"a": "<é> & \'b\'"}'
    assert written("{{ x | tojson(indent=1, sort_keys=true) }}", x={"b": 1, "a": 2}) == '{\n "a": 2,\n "b": 1\n}'
    assert written("{{ x | tojson(ensure_ascii=true, separators=(',', ':')) }}", x={"é": 1}) == '{"\\u00e9":1}'


def test_the_time_is_the_one_that_was_given() -> None:
    assert written("{{ strftime_now('%d %b %Y') }}") == "31 Jan 2026"


def test_a_generation_block_writes_its_content_and_its_variables_stay_inside() -> None:
    template = "{% set x = 1 %}a{% generation %}{% set x = 2 %}b{{ x }}{% endgeneration %}c{{ x }}"
    assert written(template) == "ab2c1"
    assert render(template, {}, now=NOW, most=100, marks=("[", "]")) == "a[b2]c1"


def test_a_template_refuses_in_its_own_words() -> None:
    with pytest.raises(RefusedError, match=r"^Roles must alternate$"):
        written("{{ raise_exception('Roles must alternate') }}")


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ x.append(1) }}", "unsafe"),
        ("{{ range(10 ** 9) }}", "Range too big"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ nothing.there }}", "'nothing' is undefined"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "without an end"),
        ("{% include 'other' %}", "no loader"),
    ],
)
def test_what_a_template_may_not_do_is_a_sentence(template: str, says: str) -> None:
    with pytest.raises(RefusedError, match=says):
        written(template, x=[1])


def test_a_template_that_is_not_jinja_is_named_with_its_line() -> None:
    with pytest.raises(InvalidError, match=r"^line 2: "):
        written("a\n{% if %}")


def test_a_text_ends_where_it_becomes_too_long() -> None:
    assert written("{% for n in range(9) %}x{% endfor %}", most=9) == "x" * 9
    with pytest.raises(BoundError, match="text"):
        written("{% for n in range(10) %}x{% endfor %}", most=9)
