# ruff: noqa: RUF001 (characters that look alike are what these strings are about)
import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.data.readers.wikitext_gaps import Gaps
from puna.data.readers.wikitext_lines import fill_holes, mark_lists, paragraphs, quotes
from puna.data.readers.wikitext_marks import BREAK, HOLE, ROW


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("'''a''' ''b'' '''''c'''''", "a b c"),
        ("it's 'so'", "it's 'so'"),
        ("l'''amico'' qui", "l'amico qui"),
        ("dell'''Iliade'', '''b'''", "dell'Iliade, b"),
        ("''a''''b''", "a'b"),
        ("''''a'''", "'a"),
        ("'''a", "a"),
        ("''''''''a", "'''a"),
    ],
)
def test_quotes_of_italics_and_bold_go_and_apostrophes_stay(line, expected):
    assert quotes(line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Paris (#; #) is", "Paris is"),
        ("Paris (#, born 1950) is", "Paris (born 1950) is"),
        ("Paris (Greek: #; 1900 – 1950) is", "Paris (1900 – 1950) is"),
        ("Rand (#;# born A, #; 2 May) was", "Rand (born A; 2 May) was"),
        ("A (pronounced #) b", "A b"),
        ("A (see above#) b", "A (see above) b"),
        ("A (b (#) c) d", "A (b c) d"),
        ("word#. Next# , and # so #", "word. Next, and so"),
        ("a #  # b", "a b"),
        ("a#b", "ab"),
        ("( # x ) f() (; ) stay", "(x) f() (; ) stay"),
        ("名（#）は", "名は"),
    ],
)
def test_where_something_was_removed_the_line_is_mended_and_nowhere_else(line, expected):
    assert fill_holes(line.replace("#", HOLE)).strip() == expected


def test_lists_have_marks_numbers_and_indentation():
    text = "Intro:\n* a\n** b\n*# c\n*# d\n# e\n# f\n\n:indented\n; term : meaning\nPlain\n# again"
    expected = "Intro:\n- a\n  - b\n  1. c\n  2. d\n1. e\n2. f\nindented\nterm: meaning\n\nPlain\n1. again"
    assert paragraphs(mark_lists(text), Gaps()) == expected


def test_lines_are_joined_to_paragraphs_and_breaks_stay():
    text = f"one\ntwo\n\nthree{BREAK} four\n----\nfive\n\n\n* item{BREAK}more"
    assert paragraphs(mark_lists(text), Gaps()) == "one two\n\nthree\nfour\n\nfive\n\n- item more"


def test_lines_of_which_nothing_is_left_and_rests_of_tables_go():
    text = f"a\n{HOLE}\n{HOLE}.\n* {HOLE}\n{ROW}| style=x | cell\n{HOLE}{ROW}|}}\nb"
    assert paragraphs(mark_lists(text), Gaps()) == "a\n\nb"


@given(st.text(alphabet=f"a b(#)*:;'\n{HOLE}{BREAK}|-,."))
def test_no_mark_is_left_and_no_letter_is_lost(text):
    result = paragraphs(mark_lists("x" + text), Gaps())
    assert not set(result) & {HOLE, BREAK}
    assert result.count("a") + result.count("b") == text.count("a") + text.count("b")
