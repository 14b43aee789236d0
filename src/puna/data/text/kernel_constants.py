"""Constants that the slow definitions of words, lines and sentences share with the compiled passes."""

import numpy as np

SPACE, REMOVED, ALONE, LETTER, BULLET = 1, 2, 4, 8, 16
"""Bits of a character's class: White_Space; removed by normalisation; a word of its own; of category L; a bullet."""

FNV_OFFSET, FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3
MIX_1, MIX_2 = 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53
MASK_64 = 2**64 - 1
"""Numbers of FNV-1a in 64 bits (Fowler, Noll and Vo) and of the finaliser of MurmurHash3 (Appleby 2008)."""

LINE = np.dtype(
    [("begin", "<i8"), ("end", "<i8"), ("hash", "<u8"), ("characters", "<i4"), ("words", "<i4"), ("sentences", "<i4"),
     ("marks", "u1")]
)  # fmt: skip
"""A line: its first byte and the one after its last, a hash of its bytes, its counts, and its marks."""

TERMINAL, ELLIPSIS, LONG_WORD, FIRST = 1, 2, 4, 8
"""Marks of a line: it ends in a full stop, question mark, exclamation mark or end quote; it ends in an ellipsis; it has
a word of more than `LONG_CHARACTERS`; it begins a paragraph."""

LONG_CHARACTERS = 1000
"""Characters of the longest word that does not mark its line (C4's released code: 1000)."""

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
"""Gopher's stop words (Rae et al. 2021, appendix A.1.1), looked for among the normalised words."""

QUOTES = '"\u201d'
"""End quotation marks."""

CLOSERS = QUOTES + "')]\u2019\u00bb"
"""Characters that may be between a sentence's mark and its end."""
