"""What all pages share."""

import json
import re

import pytest

from puna.core.page_style import page_style, script_json


@pytest.mark.parametrize(
    ("package", "names"),
    [("puna.report", ["page.css"]), ("puna.report", ["page.css", "compare.css"]), ("puna.data.card", ["card.css"])],
)
def test_pages_begin_with_the_shared_style_and_every_brace_is_closed(package: str, names: list[str]):
    style = page_style(package, *names)
    assert style.startswith(page_style(package))
    assert style.count("{") == style.count("}") > page_style(package).count("{")


def test_every_colour_has_its_twin_in_the_dark_and_every_one_that_is_used_is_set():
    style = page_style("puna.report", "page.css", "compare.css") + page_style("puna.data.card", "card.css")
    light, dark = re.findall(r":root \{(.*?)\}", page_style("puna.report"), re.DOTALL)
    names = set(re.findall(r"(--[a-z]+):", light)) - {"--mono"}
    assert names == set(re.findall(r"(--[a-z]+):", dark))
    assert set(re.findall(r"var\((--[a-z]+)\)", style)) <= set(re.findall(r"(--[a-z]+):", style))


def test_json_in_a_script_cannot_end_it():
    value = {"</script>": ["<!--", "a & b", "</SCRIPT >", 1.5]}
    text = script_json(value)
    assert not set("<>&") & set(text)
    assert json.loads(text) == value
