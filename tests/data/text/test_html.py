"""The main text of pages."""

# ruff: noqa: RUF001

import pytest
from growth import assert_in_proportion
from hypothesis import given
from hypothesis import strategies as st
from resiliparse.extract.html2text import extract_plain_text

from puna.data.text.html import main_text

WORDS = "Some words of a paragraph, so that there is one."
PAGE = (
    f"<html><body><nav><ul><li><a href=/>Home</a></ul></nav><main><p>{WORDS}</p>%s<p>{WORDS}</p></main></body></html>"
)


def _between(html: str) -> str:
    text = main_text(PAGE % html)
    first, middle, last = text.split(WORDS) if text.count(WORDS) == 2 else pytest.fail(text)
    assert first == last == ""
    return middle.strip("\n")


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p><a>1979</a>–<a>1983</a></p>", "1979–1983"),
        ("<p>“<em>Yes</em>”&mdash;<b>he</b></p>", "“Yes”—he"),
        ("<p><b>我</b>你<b>他</b></p>", "我你他"),
        ("<p>a<i>\ue001</i>b</p>", "ab"),
    ],
)
def test_a_single_character_between_tags_stays_unless_it_is_an_icon(html: str, text: str):
    assert _between(html) == text


def test_the_library_still_has_the_defects_that_are_mended():
    """The day it has not, the module can go."""
    dash, items, stray = (
        PAGE % html for html in ("<p><a>1</a>–<a>2</a>", "<ul><li>x y z</ul>", "<div><li>x</li></div>")
    )
    assert "–" not in extract_plain_text(dash, main_content=True)
    assert "x y z" not in extract_plain_text(items, main_content=True)
    assert f"• {WORDS}" in extract_plain_text(stray, main_content=True)


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<ul><li>one</li><li>two <a href=x>2</a> and more</li></ul>", "• one\n• two 2 and more"),
        ("<ul><li>one<li>two</ul>", "• one\n• two"),
        ("<UL CLASS=x><LI>one<ul><li>sub</ul></UL>", "• one\n• sub"),
        ("<ul><li>steps:<ol><li>a<li>b</ol></ul>", "• steps:\n  1. a\n  2. b"),
        ("<ul><li><p>one</p></li><li></li></ul>", "one"),
        ("<menu><li>one<li>two</menu>", "• one\n• two"),
        ("<div><li>one</li></div>", "• one"),
        ("<ol><li>one</li><li>two</li></ol>", "  1. one\n  2. two"),
        ("<ul><li><a href=x>Home</a><li><a href=y>Shop</a></ul>", ""),
        ("<ul class=menu><li>one word<li>two words</ul>", ""),
        ("<script>'<ul><li>'</script><!-- <ul> --><ul><li>one</ul>", "• one"),
    ],
)
def test_lists_of_text_stay_and_menus_go(html: str, text: str):
    assert _between(html) == text


def test_furniture_goes():
    html = "<footer>©</footer><script>x()</script><style>p{}</style><select><option>x</select><div hidden>h</div>"
    assert _between(html) == ""


def test_a_list_in_a_numbered_one_stays_however_shallow():
    html = f"<html><body><p>{WORDS}</p><ol><li>steps:<ul><li>a<li>b</ul><li>end</ol></body></html>"
    assert main_text(html) == f"{WORDS}\n\n  1. steps:\n    • a\n    • b\n  2. end"


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("10<sup>6</sup> m<SUP class=x>-2</SUP> of CO<sub>2</sub>", "10⁶ m⁻² of CO₂"),
        ("the 19<sup>th</sup>, x<sub>i</sub> and <i>x</i><sup>k</sup>", "the 19th, x_i and x^k"),
        ("a note<sup><a href=#1>1</a></sup> and x <sup>2 or 3</sup> y", "a note1 and x 2 or 3 y"),
    ],
)
def test_raised_numbers_keep_their_meaning(html: str, text: str):
    assert _between(f"<p>{html}</p>") == text


def test_cells_are_apart_and_lines_begin_with_none():
    assert _between("<table><tr><td>a</td><td>b</td></tr><tr><td></td><td>c</td></tr></table>") == "a\t\tb\nc"


def test_preformatted_text_keeps_its_indentation():
    assert _between("<pre>if x:\n\t\ty</pre>") == "if x:\n\t\ty"


@pytest.mark.parametrize(
    "piece", ["<li", "<script", "<!--", "<ul></ul>", "</ul>", "> ", "<ol></ul>", "<a>x", "&#", "<ul><li>", "<li>x"]
)
def test_time_grows_with_the_page_and_not_faster(piece: str):
    from puna.data.text.html import _mended as _pieces

    # Where each part looks at the rest of the page, this takes minutes.
    assert_in_proportion(lambda size: list(_pieces("<ul>" + piece * size)), 40_000)


_tags = ["<ul>", "</ul>", "<li>", "</li>", "<ol>", "</ol>", "<p>", "</p>", "<a href=x>", "</a>", "<div>", "</div>"]
_tags += ["–", "你", " x", "&amp;", "<menu>", "<td>", "<!--", "-->", "<pre>"]


@given(st.lists(st.sampled_from(_tags), max_size=30), st.text(max_size=20))
def test_any_page_gives_text(tags: list[str], text: str):
    found = main_text("".join(tags) + text.replace("\ufdd0", ""))
    assert "\ufdd0" not in found
