"""Compiled pass over UTF-8 bytes that makes the counts of `puna.data.text.statistics`."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from puna.data.text.kernel_constants import (
    ALONE,
    BULLET,
    CLOSERS,
    ELLIPSIS,
    FIRST,
    LETTER,
    LINE,
    LONG_CHARACTERS,
    LONG_WORD,
    QUOTES,
    REMOVED,
    SPACE,
    STOP_WORDS,
    TERMINAL,
)
from puna.data.text.word_kernel import OFFSET, absorb, decode, finish

NEWLINE, HASH, STOP, DOTS = ord("\n"), ord("#"), ord("."), ord("\u2026")
MARKS = tuple(map(ord, ".?!"))
CLOSING = tuple(map(ord, CLOSERS))
ENDS = MARKS + tuple(map(ord, QUOTES))
PACKED = tuple(int.from_bytes(word.encode()) for word in STOP_WORDS)
ROOM = 1 << 24
"""A packed word below this has room for one more of at most four letters."""


@njit(cache=True, nogil=True, inline="always")
def stop_bit(packed: int) -> int:
    """The bit of a stop word, 0 for other words."""
    for number in range(len(PACKED)):
        if packed == PACKED[number]:
            return 1 << number
    return 0


@njit(cache=True, nogil=True)
def count_lines(data: NDArray[np.uint8]) -> int:
    """An upper bound on the number of lines."""
    count = 1
    for byte in data:
        count += byte == NEWLINE
    return min(count, (data.size + 1) // 2)


@njit(cache=True, nogil=True)
def scan_text(data: NDArray[np.uint8], classes: NDArray[np.uint8], lower: NDArray[np.int32]) -> Any:
    """Words, their characters, those with a letter, hash signs, ellipses, bullet lines, ellipsis lines; bits; lines."""
    lines = np.empty(count_lines(data), dtype=LINE)
    n_lines, n_words, n_characters, n_alphabetic, n_hashes, n_ellipses = 0, 0, 0, 0, 0, 0
    n_bullets, n_ellipsis_lines, stop_bits = 0, 0, 0
    length, letters, packed = 0, 0, 0  # of the word so far
    begin, end, value, line_value, seen, characters, words = -1, 0, OFFSET, OFFSET, 0, 0, 0  # of the line so far
    sentences, closing, rest, dots, last, line_dots, marks, blank = 0, False, False, 0, 0, 0, 0, True
    at = 0
    while at <= data.size:
        code, width = NEWLINE, 1  # one more at the end, to close the last line
        if at < data.size:
            code = int(data[at])
            if code >= 0x80:
                code, width = decode(data, at)
        kind = classes[code]

        if code == STOP:
            dots += 1
        elif dots:
            n_ellipses += dots // 3
            dots = 0

        if length and kind & (SPACE | ALONE):
            words, n_characters, n_alphabetic = words + 1, n_characters + length, n_alphabetic + (letters != 0)
            if length > LONG_CHARACTERS:
                marks |= LONG_WORD
            length, letters = 0, 0
        if kind & SPACE or kind & (ALONE | REMOVED) == ALONE:
            if packed > 0:
                stop_bits |= stop_bit(packed)
            packed = 0

        if kind & SPACE:
            if closing:
                sentences, closing, rest = sentences + 1, False, False
            if code == NEWLINE:
                if begin >= 0:
                    ellipsis = line_dots >= 3 or last == DOTS
                    marks |= ELLIPSIS if ellipsis else 0
                    marks |= TERMINAL if last in ENDS else 0
                    marks |= FIRST if blank else 0
                    line = lines[n_lines]
                    line.begin, line.end, line.hash = begin, end, finish(line_value)
                    line.characters, line.words, line.sentences, line.marks = characters, words, sentences + rest, marks
                    n_lines, n_words, n_ellipsis_lines = n_lines + 1, n_words + words, n_ellipsis_lines + ellipsis
                blank = begin < 0
                begin, value, seen, words, sentences, rest, marks = -1, OFFSET, 0, 0, 0, False, 0
            elif begin >= 0:
                value, seen = absorb(value, code), seen + 1
            at += width
            continue

        if begin < 0:
            begin = at
            n_bullets += (kind & BULLET) != 0
        if kind & ALONE:
            words, n_characters, n_alphabetic = words + 1, n_characters + 1, n_alphabetic + ((kind & LETTER) != 0)
        else:
            length, letters = length + 1, letters | kind & LETTER
        if not kind & (ALONE | REMOVED):
            low = int(lower[code]) if code < lower.size else code
            packed = packed << 8 | low if low < 0x80 and 0 <= packed < ROOM else -1
        value, seen, at = absorb(value, code), seen + 1, at + width
        end, line_value, characters, last, line_dots = at, value, seen, code, dots
        n_hashes += code == HASH
        n_ellipses += code == DOTS
        closing = code in MARKS or (closing and code in CLOSING)
        rest = True

    totals = (n_words, n_characters, n_alphabetic, n_hashes, n_ellipses, n_bullets, n_ellipsis_lines)
    return totals, stop_bits, lines[:n_lines]
