"""Counts over a text and its lines, made in one pass; rules for the same text share them.

A *line* is the text between line feeds, without white space at its ends; blank ones do not count. A *paragraph* is a
run of lines without a blank one between them. A *word* is that of `puna.data.text.words`; lengths are in characters. An
*ellipsis* is the character or three full stops in a row (six are two). A *sentence* ends where `.`, `?` or `!` and the
quotation marks and brackets that close after it are followed by white space or the end of the line; the text after the
last one in a line is a sentence too.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from puna.data.text.words import tables


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts over one text."""

    data: bytes
    """The text as UTF-8 bytes."""
    words: int
    word_characters: int
    """Characters in words."""
    alphabetic_words: int
    """Words with a letter."""
    hashes: int
    """Number of hash signs."""
    ellipses: int
    stop_words: int
    """How many of `STOP_WORDS` it has."""
    bullet_lines: int
    """Lines that begin with one of `puna.data.text.words.BULLETS`."""
    ellipsis_lines: int
    """Lines that end in an ellipsis."""
    lines: Any
    """The lines, an array of `LINE`."""

    def line(self, number: int) -> str:
        """The text of a line."""
        return self.data[self.lines[number]["begin"] : self.lines[number]["end"]].decode()


_last: tuple[str, Statistics] | None = None


def statistics(text: str) -> Statistics:
    """The counts over a text; those of the last text are cached."""
    global _last
    last = _last
    if last is None or last[0] is not text:
        _last = last = (text, _scan(text))
    return last[1]


def _scan(text: str) -> Statistics:
    from puna.data.text.statistics_kernel import scan_text  # numba takes half a second

    data = text.encode()
    totals, stop_words, lines = scan_text(np.frombuffer(data, dtype=np.uint8), *tables())
    words, characters, alphabetic, hashes, ellipses, bullets, ellipsis_lines = totals
    return Statistics(
        data,
        words,
        characters,
        alphabetic,
        hashes,
        ellipses,
        int(stop_words).bit_count(),
        bullets,
        ellipsis_lines,
        lines,
    )
