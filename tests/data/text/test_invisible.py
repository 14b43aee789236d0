"""Invisible characters: what stays by the script around it."""

# ruff: noqa: RUF001

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.data.text.decode import clean_text
from puna.data.text.invisible import undirected_text, visible_text

ENGLAND = "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Trans\xadpor\xadta\xadtion", "Transportation"),
        ("zero\u200bwidth\u2060joined\ufeff", "zerowidthjoined"),
        ("\u202eevil\u202c \u2066x\u2069 \u200fא\u200e \u061c", "evil x א "),
        ("ภาษา\u200bไทย", "ภาษา\u200bไทย"),
        ("ភាសា\u200bខ្មែរ\u200b ok", "ភាសា\u200bខ្មែរ ok"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("Auf\u200clage", "Auflage"),
        ("क्\u200dष \u0dc1\u0dca\u200d\u0dbb\u0dd3", "क्\u200dष \u0dc1\u0dca\u200d\u0dbb\u0dd3"),
        ("a\u200db \u200d\u200d", "ab "),
        ("a\ufffeb\ufdd0c \U0001d173x", "abc x"),
        ("a\u2800\u2800b ⠓\u2800⠊\u2800", "a b ⠓\u2800⠊\u2800"),
        ("👩\u200d👧 ❤\ufe0f\u200d🔥 👩🏽\u200d⚕\ufe0f", "👩\u200d👧 ❤\ufe0f\u200d🔥 👩🏽\u200d⚕\ufe0f"),
        ("1\ufe0f\u20e3 a\ufe0fb\U000e0101", "1\ufe0f\u20e3 ab"),
        ("葛\U000e0100城 ≤\ufe00", "葛\U000e0100城 ≤\ufe00"),
        (f"{ENGLAND} a\U000e0068\U000e0069", f"{ENGLAND} a"),
        ("\ufff9base\ufffanote\ufffb!", "base!"),
        ("\x93Hello\x94 \x96 it\x92s", "“Hello” – it’s"),
        ("a\x81b é\x81 \x90", "ab é "),
        ("Ñ\x81Ð¾Ð½ â€œaâ€\x9d mÃ\xad Ã\xad ã\x81\x93 ðŸ\x90±", "Ñ\x81Ð¾Ð½ â€œaâ€\x9d mÃ\xad Ã\xad ã\x81“ ðŸ\x90±"),
        ("GRÄ\xadBER MANHÃ\xadZINHA Spaß\xad prä\xadzise caf\xadé\xad", "GRÄBER MANHÃZINHA Spaß präzise café"),
        ("one\u2028two\u2029three", "one\ntwo\n\nthree"),
        ("10\xa0km\u202f!", "10 km !"),
        ("\x1b[31mred\x1b[0m a\x08b\tc\x0cd", "red ab\tc\x0cd"),
        ("ᠮᠣᠩ\u180bᠭ \u180ex", "ᠮᠣᠩ\u180bᠭ x"),
        ("\u3164\uffa0\u115f\u2064\ufffc", ""),
        ("né e\u0301", "né e\u0301"),
    ],
)
def test_what_nobody_sees_goes_unless_its_script_needs_it(text: str, clean: str):
    assert visible_text(text) == clean


@pytest.mark.parametrize(
    "text",
    ["\xad" * 9, "\u200b\n\u200b", " \u2060\ufeff\xa0", "\u202e\u202c", "\u2028\u2029", "\x01\x02", "\u2800\n\u2800"],
)
def test_a_document_of_nothing_visible_is_empty(text: str):
    assert clean_text(text) == ""


def test_code_loses_only_marks_of_direction():
    code = 'if x:\n\ty = "\xad\u200b\xa0\u200d" # \u202e\u2066 }'
    assert clean_text(code, code=True) == 'if x:\n\ty = "\xad\u200b\xa0\u200d" #  }'
    assert undirected_text("plain") == "plain"


_odd = "\xad\u200b\u200c\u200d\u2060\ufeff\ufe0f\ufe00\u034f\u180b\u180e\u061c\u202e\u2028"
_odd += "\x85\x1b[m\U000e0067\U000e007f\ufff9\ufffa\ufffb"


@given(st.text(alphabet=_odd + "aक❤🏴1\u20e3葛ไ\u0301ب ", max_size=12) | st.text())
def test_text_that_was_cleaned_stays_as_it_is(text: str):
    once = visible_text(text)
    assert visible_text(once) == once
