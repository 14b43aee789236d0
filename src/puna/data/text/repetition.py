"""How much of a text is repeated: lines, paragraphs and n-grams of words (Rae et al. 2021, appendix A.1.1).

A line or paragraph is a *duplicate* if it occurred earlier in the same text; so is an n-gram of normalised words. Lines
and paragraphs are compared as they are, without white space at the ends of their lines. Characters are counted in lines
for the former, in normalised words for the latter.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from puna.data.text.statistics import statistics
from puna.data.text.words import hashes_and_lengths


class Duplicates(NamedTuple):
    """Numbers of lines or paragraphs and of their characters, and how many of both are duplicates."""

    count: int
    characters: int
    duplicates: int
    duplicate_characters: int


class NGrams(NamedTuple):
    """For each n, characters of words in certain n-grams, each counted once."""

    characters: int
    """Characters of all words."""
    top: NDArray[np.int64]
    """At [n]: characters in the most frequent n-gram, 0 if none occurs twice. Of several the one with most characters
    counts, then the first."""
    duplicate: NDArray[np.int64]
    """At [n]: characters in n-grams that occurred earlier."""


def repeated_lines(text: str) -> tuple[Duplicates, Duplicates]:
    """Duplicate lines and duplicate paragraphs of a text."""
    from puna.data.text.repetition_kernel import count_lines, count_paragraphs  # numba takes half a second

    lines = statistics(text).lines
    return Duplicates(*count_lines(lines)), Duplicates(*count_paragraphs(lines))


def repeated_ngrams(text: str, smallest: int, largest: int) -> NGrams:
    """Repeated n-grams of the normalised words of a text, for each n from `smallest` (at least 1) to `largest`."""
    from puna.data.text.repetition_kernel import count_ngrams  # numba takes half a second

    hashes, lengths = hashes_and_lengths(np.frombuffer(statistics(text).data, dtype=np.uint8))
    return NGrams(*count_ngrams(hashes, lengths, smallest, largest))
