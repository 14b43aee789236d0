"""Texts that people read the same have a form in common."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.data.text.compared import forms
from puna.data.text.words import normalised_words


def words(text: str) -> set[str]:
    """The normalised words of each form."""
    return {" ".join(normalised_words(form)) for form in forms(text)}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("an example of it", "an exam-\nple of it"),
        ("an example of it", "an exam- \r\n   ple of it"),
        ("an example of it", "an exam\u2010\nple of it"),
        ("an example of it", "an exam\u00ad\nple of it"),
        ("an example of it", "an exam\u00ac\nple of it"),
        ("an example of it", "an exam- ple of it"),
        ("a well-known law", "a well known law"),
        ("a well-known law", "a well\u2011known law"),
        ("a well-known law", "a well-\nknown law"),
        ("a wellknown law", "a well-known law"),
        ("it came\u2014at last", "it came \u2014 at last"),
        ("it came--at last", "it came at last"),
        ("in 1990\u20131995", "in 1990-1995"),
        ("in 1990\u20131995", "in 1990 - 1995"),
        ("yes and/or no", "yes and / or no"),
        ("the \ufb01rst \ufb02oor", "the first floor"),
        ("\uff21\uff22\uff23\uff11\uff12\uff13 is", "abc123 is"),
        ("x\u00b2 is", "x2 is"),
        ("chapter \u2163", "chapter IV"),
        ("\U0001d400bout", "about"),
        ("Stra\u00dfe", "STRASSE"),
        ("caf\u00e9 au lait", "cafe\u0301 au lait"),
        ("\uac00\ub098", "\u1100\u1161\u1102\u1161"),
        ("Tom & Jerry's", "Tom &amp; Jerry&#39;s"),
        ("Tom & Jerry's", "Tom &amp;amp; Jerry&amp;#x27;s"),
        ("a\u00a0b c", "a&nbsp;b c"),
        ("can\u02bct be", "can't be"),
        ("is it so?Nobody knows", "Is it so? Nobody knows"),
        ('he said."It is', 'he said. "It is'),
        ("Java\u2122 is", "Java is"),
    ],
)  # fmt: skip
def test_what_people_read_the_same_is_found(one: str, other: str):
    assert words(one) & words(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("an exam ple of it", "an example of it"),
        ("AT&T; x", "AT T x"),
        ("self.assertEqual(x)", "self assertEqual x"),
        ("1.5 and 2,000", "1 5 and 2 000"),
        ("exam-\n\n- ple", "example"),
        ("caf\u00e9", "cafe"),
    ],
)
def test_what_differs_stays_different(one: str, other: str):
    assert not words(one) & words(other)


def test_a_plain_text_has_one_form_and_the_text_itself_comes_first():
    assert forms("Nothing to mend, it's 3.5 & 7.") == ["Nothing to mend, it's 3.5 & 7."]
    assert forms("a-b") == ["a-b", "a b"]
    assert forms("exam-\nple") == ["exam-\nple", "example"]


@given(st.text(alphabet=st.sampled_from("aB1 -\n&;#.\u00ad\ufb01\u0301\u2014/\u00df")))
def test_forms_are_stable_and_the_text_itself_is_one(text: str):
    found = forms(text)
    assert found[0] == text
    assert len(set(found)) == len(found) <= 3
