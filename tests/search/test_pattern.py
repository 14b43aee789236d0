from itertools import product

import pytest

from puna.core.errors import DataError
from puna.search.pattern import Pattern


def _accepts(pattern: Pattern, content: bytes) -> bool:
    node = 0
    for byte in content:
        if byte not in pattern.next[node]:
            return False
        node = pattern.next[node][byte]
    return node == pattern.end


def test_a_text_is_only_itself():
    pattern = Pattern("Straße")
    assert _accepts(pattern, "Straße".encode())
    for other in ("straße", "Strasse", "Straß", "Straßen", ""):
        assert not _accepts(pattern, other.encode())


@pytest.mark.parametrize("text", ["ss", "SS", "ß", "ẞ", "ﬁſ", "İ", "K", "éa", "ǅ", "漢a", "ΐ"])
def test_folded_texts_are_those_that_casefold_makes_equal(text: str):
    pattern = Pattern(text, fold=True)
    letters = [
        "s",
        "S",
        "ß",
        "ẞ",
        "\u017f",
        "f",
        "F",
        "i",
        "I",
        "ﬁ",
        "İ",
        "\u0131",
        "K",
        "k",
        "K",
        "é",
        "É",
        "a",
        "A",
        "ǆ",
        "ǅ",
        "漢",
        "ΐ",
        "ΐ",
    ]
    for size in (1, 2, 3):
        for one in map("".join, product(letters, repeat=size)):
            assert _accepts(pattern, one.encode()) == (one.casefold() == text.casefold()), one


@pytest.mark.parametrize("text", ["", "a\ud800"])
def test_an_empty_text_and_half_a_character_are_refused(text: str):
    with pytest.raises(DataError, match=r"no text|not Unicode"):
        Pattern(text)
