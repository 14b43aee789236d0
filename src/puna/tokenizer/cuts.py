"""Cuts: places where a text can be divided so that the ids of its parts, in a row, are those of the whole.

A table of 256 x 256 has the answer for each pair of bytes of UTF-8: always, never, or only if the byte after the pair
is an ASCII letter.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from puna.tokenizer.byte_level import GPT2_PATTERN, LLAMA3_PATTERN, LLAMA_CPP_DEFAULT

Cuts = NDArray[np.uint8]
"""(256, 256): whether there is a cut between a byte and the next one."""

NEVER, BEFORE_LETTER, ALWAYS = 0, 1, 2
"""Never a cut; a cut if the byte after the next is an ASCII letter; always a cut."""

_LETTERS = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", dtype=np.uint8)
_DIGITS = np.frombuffer(b"0123456789", dtype=np.uint8)
_MARKS = np.frombuffer(b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", dtype=np.uint8)
_BLANKS = np.frombuffer(b" \t\v\f", dtype=np.uint8)
_BREAKS = np.frombuffer(b"\r\n", dtype=np.uint8)
_SPACES = "\x85\xa0\u1680\u180e\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200C)))
_OTHERS = np.array(sorted({*range(0x80, 0xC0)} - {space.encode()[-1] for space in _SPACES}), dtype=np.uint8)
"""Last bytes of characters beyond ASCII; no white space ends in one, in any version of Unicode."""

_RUNS = {r"\p{N}", r"\p{N}+", "[0-9][0-9][0-9]", LLAMA_CPP_DEFAULT.patterns[0]}
"""Patterns that match only digits or only marks: no match reaches from one kind to another."""


def cuts_between(pieces: Iterable[bytes]) -> Cuts:
    """The cuts of a vocabulary with merges anywhere in a text: where no merge can reach across.

    A merge makes a piece, so it needs a piece in which the two bytes are neighbours. A character is never divided,
    whether a piece holds it or not.
    """
    cuts = cuts_outside(pieces, np.full((256, 256), ALWAYS, dtype=np.uint8))
    cuts[:, 0x80:0xC0] = NEVER  # the second, third or fourth byte of a character
    return cuts


def cuts_outside(strings: Iterable[bytes], cuts: Cuts) -> Cuts:
    """The cuts that do not divide any of these strings."""
    cuts = cuts.copy()
    for string in strings:
        data = np.frombuffer(string, dtype=np.uint8)
        cuts[data[:-1], data[1:]] = NEVER
    return cuts


def cuts_of(patterns: tuple[str, ...]) -> Cuts | None:
    """The cuts of a byte-level BPE that splits text by these patterns, one after the other.

    No match of a pattern reaches across such a cut or looks at the text after it. Only ASCII characters decide this,
    and other characters only before ASCII's white space, so versions of Unicode cannot differ about it. The byte after
    a cut is ASCII, so composing characters (NFC) does not reach across it either.

    Returns:
        None where a pattern is not known.
    """
    tables = [_TABLES[pattern]() for pattern in patterns if pattern in _TABLES]
    if not tables or not {*patterns} <= _RUNS | {*_TABLES}:
        return None
    return np.minimum.reduce(tables)


def _gpt2_cuts() -> Cuts:
    """White space begins a word, and so does each change of kind; the mark `'` may begin a contraction.

    Of several white spaces before a letter the last one, if it is a space, belongs to the letter.
    """
    cuts = np.zeros((256, 256), dtype=np.uint8)
    cuts[np.ix_(_join(_LETTERS, _DIGITS, _MARKS, _OTHERS), _join(_BLANKS, _BREAKS))] = ALWAYS
    cuts[np.ix_(_LETTERS, _join(_DIGITS, _MARKS))] = ALWAYS
    cuts[np.ix_(_DIGITS, _join(_LETTERS, _MARKS))] = ALWAYS
    cuts[np.ix_(_MARKS, _join(_LETTERS, _DIGITS))] = ALWAYS
    cuts[ord("'"), _LETTERS] = NEVER
    cuts[_join(_BLANKS, _BREAKS), ord(" ")] = BEFORE_LETTER
    return cuts


def _llama3_cuts() -> Cuts:
    """A mark may be in one match with the letters or the line breaks after it."""
    cuts = _gpt2_cuts()
    cuts[np.ix_(_MARKS, _LETTERS)] = NEVER
    cuts[np.ix_(_join(_MARKS, _OTHERS), _BREAKS)] = NEVER
    return cuts


def _join(*kinds: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.concatenate(kinds)


_TABLES = {GPT2_PATTERN: _gpt2_cuts, LLAMA3_PATTERN: _llama3_cuts}
