"""The one definition of a word, and 64-bit hashes of the words of a text.

A *word* is a maximal run of characters that are not White_Space (Unicode, PropList.txt); but each character of a script
that is written without spaces (Han, Hiragana, Katakana, Thai, Lao, Khmer, Myanmar) is a word of its own.

For n-grams the text is *normalised* first, character by character: to lower case; punctuation and symbols (categories P
and S), control and format characters (Cc and Cf; soft hyphens and zero-width marks are among them) are removed,
unless they are white space. The rest is split into words: "Don't — stop" gives `dont` and `stop`.

Where texts are compared (near duplicates, books within books, evaluation sets), they are `composed` before that, so
that an accent is the same in one code point and in two. Nothing else is folded: full-width letters and ligatures stay.

Lower case is that of the character alone, in one code point: the first one if Unicode has several (only for the dotted
capital I of Turkish), and the same sigma at the end of a word. Categories and lower case are those of Python's
`unicodedata`.

`words` and `normalised_words` are the slow and obvious versions; the kernel in `puna.data.text.word_kernel` is fast,
and tests compare the two.
"""

import unicodedata
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from puna.data.text.kernel_constants import (
    ALONE,
    BULLET,
    FNV_OFFSET,
    FNV_PRIME,
    LETTER,
    MASK_64,
    MIX_1,
    MIX_2,
    REMOVED,
    SPACE,
)  # fmt: skip

_SPACES = (*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000)
WHITE_SPACE = frozenset(map(chr, _SPACES))
"""Unicode's White_Space; `str.isspace` also has U+001C to U+001F."""

UNSPACED = (
    (0x2E80, 0x2E99), (0x2E9B, 0x2EF3), (0x2F00, 0x2FD5), (0x3005, 0x3005), (0x3007, 0x3007), (0x3021, 0x3029),
    (0x3038, 0x303B), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFA6D), (0xFA70, 0xFAD9), (0x16FE2, 0x16FE3),
    (0x16FF0, 0x16FF1), (0x20000, 0x2A6DF), (0x2A700, 0x2B739), (0x2B740, 0x2B81D), (0x2B820, 0x2CEA1),
    (0x2CEB0, 0x2EBE0), (0x2EBF0, 0x2EE5D), (0x2F800, 0x2FA1D), (0x30000, 0x3134A), (0x31350, 0x323AF),  # Han
    (0x3041, 0x3096), (0x309D, 0x309F), (0x1B001, 0x1B11F), (0x1B132, 0x1B132), (0x1B150, 0x1B152),
    (0x1F200, 0x1F200),  # Hiragana
    (0x30A1, 0x30FA), (0x30FD, 0x30FF), (0x31F0, 0x31FF), (0x32D0, 0x32FE), (0x3300, 0x3357), (0xFF66, 0xFF6F),
    (0xFF71, 0xFF9D), (0x1AFF0, 0x1AFFE), (0x1B000, 0x1B000), (0x1B120, 0x1B122), (0x1B155, 0x1B155),
    (0x1B164, 0x1B167),  # Katakana
    (0x0E01, 0x0E3A), (0x0E40, 0x0E5B),  # Thai
    (0x0E81, 0x0EDF),  # Lao
    (0x1780, 0x17DD), (0x17E0, 0x17E9), (0x17F0, 0x17F9), (0x19E0, 0x19FF),  # Khmer
    (0x1000, 0x109F), (0xA9E0, 0xA9FE), (0xAA60, 0xAA7F), (0x116D0, 0x116E3),  # Myanmar
)  # fmt: skip
"""First and last code points of the scripts written without spaces (Unicode 16, Scripts.txt; Lao with its gaps)."""
_FIRST_UNSPACED = min(first for first, _ in UNSPACED)

BULLETS = "-*\u00b7\u2013\u2022\u2023\u2043\u25a0\u25a1\u25aa\u25ab\u25b6\u25cb\u25cf\u25e6"
"""Characters that begin an entry of a list: hyphen, asterisk, middle dot, en dash; bullets round, triangular and as
hyphen; squares; a triangle; circles."""


class Tables(NamedTuple):
    """The kernels' tables for each code point."""

    classes: NDArray[np.uint8]
    """Bits `SPACE`, `REMOVED`, `ALONE`, `LETTER`, `BULLET` for each of the 0x110000 code points."""
    lower: NDArray[np.int32]
    """Lower case of each code point; those beyond the end of the array are their own."""


@cache
def tables() -> Tables:
    """The tables, made once per process in some 30 ms."""
    classes = np.zeros(0x110000, dtype=np.uint8)
    lower = np.arange(0x1E944, dtype=np.int32)
    # After these come only unassigned and private characters, and in plane 14 format characters and variation
    # selectors.
    for first, last in ((0, 0x33480), (0xE0000, 0xE0200)):
        categories = list(map(unicodedata.category, map(chr, range(first, last))))
        classes[first:last] = np.frombuffer(bytes(map(_BITS.__getitem__, categories)), dtype=np.uint8)
        for code, category in enumerate(categories[: len(lower) - first], first):
            if category in _CASED:
                lower[code] = ord(chr(code).lower()[0])
    for first, last in UNSPACED:
        classes[first : last + 1] |= ALONE
    classes[list(_SPACES)] = SPACE
    classes[list(map(ord, BULLETS))] |= BULLET
    return Tables(classes, lower)


_BITS = dict.fromkeys(("Lu", "Ll", "Lt", "Lm", "Lo"), LETTER)
_BITS |= dict.fromkeys(("Cc", "Cf", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So"), REMOVED)
_BITS |= dict.fromkeys(("Mn", "Mc", "Me", "Nd", "Nl", "No", "Zs", "Zl", "Zp", "Cs", "Co", "Cn"), 0)
_CASED = frozenset(("Lu", "Lt", "Nl", "So"))  # Roman numerals and letters in circles have a lower case too


def is_unspaced(character: str) -> bool:
    """Whether the character's script is written without spaces."""
    code = ord(character)
    return code >= _FIRST_UNSPACED and any(first <= code <= last for first, last in UNSPACED)


def words(text: str) -> list[str]:
    """The words of a text, in order; slow and obvious."""
    found, run = [], ""
    for character in [*text, " "]:
        alone = is_unspaced(character)
        if run and (alone or character in WHITE_SPACE):
            found.append(run)
            run = ""
        if alone:
            found.append(character)
        elif character not in WHITE_SPACE:
            run += character
    return found


def normalised(text: str) -> str:
    """The normalised text, before it is split into words; slow and obvious."""
    kept = (c for c in text if c in WHITE_SPACE or unicodedata.category(c) not in ("Cc", "Cf"))
    return "".join(c.lower()[0] for c in kept if unicodedata.category(c)[0] not in "PS")


def normalised_words(text: str) -> list[str]:
    """The words of the normalised text, in order; slow and obvious."""
    return words(normalised(text))


def composed(text: str) -> str:
    """The text in Unicode's form NFC (UAX #15), in which most text is already: it takes no time for ASCII."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def word_hash(word: str) -> int:
    """The 64-bit hash of a normalised word: FNV-1a over its UTF-8 bytes, then the finaliser of MurmurHash3."""
    value = FNV_OFFSET
    for byte in word.encode():
        value = (value ^ byte) * FNV_PRIME & MASK_64
    for factor in (MIX_1, MIX_2):
        value = (value ^ value >> 33) * factor & MASK_64
    return value ^ value >> 33


def word_hashes(text: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """`word_hash` of each normalised word of a text, in order.

    Args:
        text: The text as UTF-8 bytes; other bytes give some hashes too, and never an error.
    """
    return hashes_and_lengths(text)[0]


def hashes_and_lengths(text: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """`word_hash` and number of characters of each normalised word of a text, in order.

    Args:
        text: The text as UTF-8 bytes; other bytes give some words too, and never an error.
    """
    from puna.data.text.word_kernel import scan_words  # numba takes half a second, which not every command needs

    return scan_words(text, *tables())
