"""The definition of a word, its tables and hashes."""

import subprocess
import sys
import unicodedata

import numpy as np
import pytest
import regex
from hypothesis import example, given
from hypothesis import strategies as st

from puna.data.text.words import (
    ALONE,
    BULLET,
    BULLETS,
    LETTER,
    REMOVED,
    SPACE,
    UNSPACED,
    WHITE_SPACE,
    hashes_and_lengths,
    is_unspaced,
    normalised,
    normalised_words,
    tables,
    word_hash,
    word_hashes,
    words,
)

UTF8 = st.text(st.characters(exclude_categories=["Cs"]))
ASSIGNED = [c for c in map(chr, range(0x110000)) if unicodedata.category(c) not in ("Cn", "Cs", "Co")]


def raw(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), dtype=np.uint8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("  one\ttwo\u2003three\n", ["one", "two", "three"]),
        ("a\x1cb", ["a\x1cb"]),  # no White_Space, though str.split splits here
        ("Hello, world", ["Hello,", "world"]),
        ("2 漢字 no.1", ["2", "漢", "字", "no.1"]),
        ("abcひらカタdef", ["abc", "ひ", "ら", "カ", "タ", "def"]),
        ("ไทย ລາວ", ["ไ", "ท", "ย", "ລ", "າ", "ວ"]),
        ("한국어 문장", ["한국어", "문장"]),  # Hangul has spaces
    ],
)
def test_words_are_runs_between_white_space_or_single_characters(text, expected):
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't — stop!", ["dont", "stop"]),
        ("co\u00adoperate zero\u200bwidth", ["cooperate", "zerowidth"]),
        ("£5 + $6", ["5", "6"]),
        ("ΟΔΟΣ İSTANBUL STRASSE straße", ["οδοσ", "istanbul", "strasse", "straße"]),
        ("漢。字、", ["漢", "字"]),
        ("---\n...", []),
    ],
)
def test_normalised_words_have_neither_case_nor_punctuation(text, expected):
    assert normalised_words(text) == expected


def test_hashes_never_change():
    assert [hex(word_hash(word)) for word in ("", "the", "naïve", "漢", "😀a")] == GOLDEN
    assert list(map(hex, word_hashes(raw("The NAÏVE 漢")))) == GOLDEN[1:4]


GOLDEN = ["0xefd01f60ba992926", "0xcb3ff435b889fb31", "0x1b21a798c5ab1dcf", "0x975d781bdd4c51d1", "0x74cfa88f3f0ad2f6"]


@given(UTF8)
@example("İ ΑΣ Ⅷ ⓐ ǅ ﬀ")
@example("a\x00b\x85c\u2028d\ufeffe")
def test_the_kernel_finds_the_words_that_the_definition_says(text):
    hashes, lengths = hashes_and_lengths(raw(text))
    assert hashes.tolist() == [word_hash(word) for word in normalised_words(text)]
    assert lengths.tolist() == [len(word) for word in normalised_words(text)]


def test_the_kernel_agrees_on_every_character():
    for first in range(0, len(ASSIGNED), 1000):
        text = " ".join(f"A{c}b {c}" for c in ASSIGNED[first : first + 1000])
        assert word_hashes(raw(text)).tolist() == [word_hash(word) for word in normalised_words(text)]


def test_the_scripts_are_unicodes():
    pattern = regex.compile(r"[\p{Script=Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
    assert [hex(ord(c)) for c in ASSIGNED if bool(pattern.match(c)) != is_unspaced(c)] == []


def test_white_space_is_unicodes():
    assert {c for c in ASSIGNED if regex.match(r"\p{White_Space}", c)} == WHITE_SPACE


def test_classes_are_those_of_unicodedata_on_every_code_point():
    classes, lower = (table.tolist() for table in tables())
    unspaced = {code for first, last in UNSPACED for code in range(first, last + 1)}
    for code in range(0x110000):
        character, kind = chr(code), classes[code]
        category = unicodedata.category(character)
        expected = SPACE if character in WHITE_SPACE else 0
        if not expected:
            expected |= REMOVED if category[0] in "PS" or category in ("Cc", "Cf") else 0
            expected |= ALONE if code in unspaced else 0
            expected |= LETTER if character.isalpha() else 0
            expected |= BULLET if character in BULLETS else 0
        assert kind == expected, hex(code)
        assert ord(character.lower()[0]) == (lower[code] if code < len(lower) else code), hex(code)


def test_only_one_character_has_a_lower_case_of_several():
    assert [c for c in ASSIGNED if len(c.lower()) > 1] == ["İ"]


def test_lower_case_is_of_the_same_class():
    classes, lower = tables()
    assert np.array_equal(classes[: len(lower)], classes[lower])


@given(UTF8)
def test_normalising_twice_changes_nothing_more(text):
    assert normalised(normalised(text)) == normalised(text)


def test_importing_words_does_not_import_numba():
    code = "import sys, puna.data.text.words; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
