# ruff: noqa: RUF001 (characters that look alike are what these strings are about)
import re

import pytest
from growth import assert_in_proportion
from hypothesis import given
from hypothesis import strategies as st

from puna.data.readers.wikitext_marks import BREAK, BULLET, END, GAP, HOLE, LESS, ROW, STASHED
from puna.data.readers.wikitext_scan import drop_silent, drop_switches, drop_tables, drop_tags, lift, without

HIDDEN = frozenset(["file"])


@pytest.mark.parametrize(
    ("wikitext", "expected"),
    [
        ("a<!-- b -->c<!-- d", "ac"),
        ('a<ref name="x">b [[c]]</ref>d<ref name=x />e<REF>f</REF >g', f"a{HOLE}d{HOLE}e{HOLE}g"),
        ("a<ref>b", "ab"),
        ("a<gallery>\nFile:x|y\n</gallery>b", f"a{HOLE}b"),
        ("a<references group='x'/>b<reflist>", f"a{HOLE}b<reflist>"),
        ("<poem>a\nb</poem>", f"\n\na{BREAK}b\n\n"),
        ("a<nowiki/>b", "ab"),
    ],
)
def test_comments_and_references_are_lifted_out(wikitext, expected):
    assert lift(wikitext) == (expected, [])


def test_code_and_formulas_are_put_aside_as_they_are():
    text, pieces = lift("a<nowiki>'''[[b]]'''</nowiki> <math>\\frac{{x}}{2}\n &lt; 3</math><pre>\n c\n  d</pre>")
    assert pieces == ["'''[[b]]'''", "$\\frac{{x}}{2} < 3$", " c\n  d"]
    assert text == f"a{STASHED}0{END} {STASHED}1{END}\n\n{STASHED}2{END}\n\n"


@pytest.mark.parametrize(
    ("wikitext", "expected"),
    [
        ("a {{xy|{{lang|fr|b}}|{{y}}}} c", f"a {GAP} c"),
        ("a {{lang|fr|{{xy}}}} c", f"a {{{{lang|fr|{GAP}}}}} c"),
        ("a {{{1|b}}} c", f"a {HOLE} c"),
        ("a {{x b", "a x b"),
        ("a }} b ]] c [[ d", "a  b  c  d"),
        ("a [[File:x|thumb|b [[c]] {{d}}]] e", f"a {HOLE} e"),
        ("a [[ file : x]] [[fr:y]] [[:fr:z]]", f"a {HOLE} {HOLE} [[:fr:z]]"),
        ("a {{xy [[y}} z]]", f"a {GAP} z"),
        ("a {{xy|{{y}}", f"a xy|{GAP}"),
    ],
)
def test_what_shows_no_words_is_dropped_and_what_matches_nothing_is_opened(wikitext, expected):
    assert drop_silent(wikitext, "en", HIDDEN) == expected


@pytest.mark.parametrize(
    ("wikitext", "expected"),
    [
        ("a\n{| x\n|-\n| b\n{|\n| c\n|}\n|}\nd", f"a\n{HOLE}\nd"),
        (":{|\n|b\n|}d", f"{HOLE}d"),
        ("a <table x><tr><td>b<table></table></table> c", f"a {HOLE} c"),
        ("a\n{|\n| b\nc\n== d ==\n| e", f"a\n{ROW}{{|\n{ROW}| b\nc\n== d ==\n| e"),
        ("a\n|}\nb\n|c| = d", f"a\n{ROW}|}}\nb\n|c| = d"),
    ],
)
def test_tables_are_dropped_with_those_inside(wikitext, expected):
    assert drop_tables(wikitext) == expected


@pytest.mark.parametrize(
    ("wikitext", "expected"),
    [
        ("a<br />b<BR>c", f"a{BREAK}b{BREAK}c"),
        ('<div class="x">a <span style="x">b</span></div>', "\na b\n"),
        ('a<span style="display: none">x</span>b', f"a{HOLE}b"),
        ("10<sup>''6''</sup> H<sub>2</sub>O 5<sup>th</sup>", "10⁶ H₂O 5th"),
        ("a < b, <T> and List<int>", f"a {LESS} b, {LESS}T> and List{LESS}int>"),
        ("<ul><li>a</li><li>b</li></ul>", f"\n\n{BULLET} a\n{BULLET} b\n"),
    ],
)
def test_tags_leave_their_text_and_what_is_not_a_tag_stays(wikitext, expected):
    assert drop_tags(wikitext) == expected


@pytest.mark.parametrize(
    ("wikitext", "expected"),
    [
        ("a __NOTOC__ b __БЕЗ_ОГЛ__", "a  b "),
        ("a __init__ b", "a __init__ b"),
        ("-{Београд}- -{sr-ec: а; sr-el: b}-", "Београд а"),
        ("-{R|raw}-, -{H|a=>b}-, -{T|title}-", "raw, , "),
        ("a __НИКАКОЙ__ b\n __НИКАКОЙ__ \nc __notoc__ __index__ __INDEX__", "a __НИКАКОЙ__ b\n  \nc  __index__ "),
    ],
)
def test_magic_words_and_language_variants(wikitext, expected):
    assert drop_switches(wikitext, "sr") == expected


def test_of_nested_spans_the_outermost_is_removed():
    assert without("abcdef", [(2, 3, "x"), (1, 4, "y"), (5, 6, "")]) == "aye"
    assert without("abc", []) == "abc"


HOSTILE = ["{{", "}}", "[[", "]]", "{{a|", "[[a|", "{|\n", "|}\n", "<ref>", "</ref>", "<ref ", "<!--", "<math>",
           "</math>",
           "<b ", "<sup>", "<span display", "display:none", "__A", "-{", "}-", "{{{", "<nowiki>", "x", " ", "\n",
           "<table>"]  # fmt: skip


@pytest.mark.parametrize("unit", [*HOSTILE, "{{a|b=[[c|", "<sup>[[", "<span display:none ", "__A_"])
def test_time_is_linear_whatever_the_markup(unit):
    def work(size: int) -> None:
        text, _ = lift(unit * (size // len(unit)))
        drop_tags(drop_tables(drop_silent(drop_switches(text, "sr"), "en", HIDDEN)))

    assert_in_proportion(work, 80_000)


@given(st.lists(st.sampled_from(HOSTILE)).map("".join))
def test_the_brackets_that_are_left_match(text):
    depth = 0
    left = drop_silent(text, "en", HIDDEN)
    for mark in re.findall(r"\[\[|\]\]", left):
        depth += 1 if mark == "[[" else -1
        assert depth >= 0
    assert depth == 0
