r"""Where a book begins and ends in a file of Project Gutenberg: the layouts since 1991, alone or several in one file.

A file is cut at its marks (`puna.data.readers.gutenberg_marks`). The text between two of them is header, book or
licence by the marks on both sides: the "SMALL PRINT" stands before the book until 2001 and behind it until 2004. Before
2003 many files had no mark behind their header: there its paragraphs are known by Project Gutenberg's own sentences.

"End of Project Gutenberg's …" ends a book only where nothing but licence follows: works in several volumes have such a
line at the end of each. Of several files in one, every book is kept.
"""

import re
from dataclasses import dataclass
from itertools import islice, pairwise

from puna.data.readers.gutenberg_credits import CREDIT, without_credits
from puna.data.readers.gutenberg_marks import (
    HEADER_LENGTH,
    HEADER_WORDS,
    LICENCE_WORDS,
    PARAGRAPH,
    SIGNATURE,
    Mark,
    known_end,
    marks,
)
from puna.data.text.decode import clean_text

MOST_CUT = 60_000
"""Most characters in one piece that can be header and licence: a licence has some 20,000, a header may follow it."""
_TITLE_LENGTH = 2000
"""Characters that may stand between the last known sentence of a header and the mark behind it: titles and names."""
_FIRST = 4
"""Paragraphs among which the first of a header must be."""
_BEGINNING = 3000
"""Characters from the beginning in which a file of Project Gutenberg names it."""
_NAMED = re.compile(r"gutenberg|e-?text\b", re.IGNORECASE)
_PARTED = "\n\n\n"
"""The space between books of one file."""


@dataclass(frozen=True)
class Split:
    """A file in its parts."""

    header: str
    """The text before the book; its first lines where nothing does, but something was cut; else empty."""
    cut: str
    """All that is not the book."""
    book: str
    doubt: str
    """Why something may be cut that is the book; empty where nothing speaks for it."""


def split_book(text: str) -> Split:
    r"""The book of a file, without header, licence and the lines about who made it.

    Args:
        text: The file's text, with line ends `\n`.
    """
    parts = _parts(text)
    if parts == [(0, len(text))]:
        return Split("", "", clean_text(text), "")
    books = [without_credits(clean_text(text[begin:end])) for begin, end in parts]
    ends = [0, *(place for part in parts for place in part), len(text)]
    cuts = [text[begin:end] for begin, end in zip(ends[::2], ends[1::2], strict=True)]
    header = cuts[0] if cuts[0].strip() else text[: min(_TITLE_LENGTH, parts[0][1] if parts else len(text))]
    longest = max(map(len, cuts))
    doubt = f"{longest:,} characters in one piece look like header or licence" if longest > MOST_CUT else ""
    return Split(header, "\n".join(cuts), _PARTED.join(filter(None, books)), doubt)


def _parts(text: str) -> list[tuple[int, int]]:
    """Beginnings and ends of what belongs to the book."""
    parts: list[tuple[int, int]] = []
    behind = 0
    """Characters of the book behind the mark on the right."""
    for left, right in reversed([*pairwise(marks(text))]):
        begin, end = _book(text, left, right, behind)
        behind = end - begin if text[begin:end].strip() else 0
        if behind:
            parts.append((begin, end))
    return parts[::-1]


def _book(text: str, left: Mark, right: Mark, behind: int) -> tuple[int, int]:
    """What is the book between two marks; empty if nothing is."""
    begin, end = left.end, right.begin
    none = end, end
    if left.kind == "end" and right.kind in ("start", "file", "small", "licence"):
        return none
    if left.kind == "licence" and right.kind in ("file", "small") and end - begin <= HEADER_LENGTH:
        return none
    if right.kind == "start":
        return _before_header(text, left, begin, end)
    if left.kind == "soft" and right.kind != "soft" and _is_licence(text, begin, end):
        return none
    known = _without_header(text, left, begin, end)
    if right.kind == "small" and behind:
        header = _next_header(text, known, end)
        if header is not None and header - known > _TITLE_LENGTH:  # the book has no end, and another file follows
            return known, header
    if right.kind == "small" and behind and (left.kind != "start" or known > begin):
        rest = end - known
        if rest <= _TITLE_LENGTH or (end - begin <= HEADER_LENGTH and behind >= rest):
            return none
    return known, end


def _before_header(text: str, left: Mark, begin: int, end: int) -> tuple[int, int]:
    """What is the book between a mark and the header of the next file, which ends with a mark of its own."""
    if left.kind in ("file", "licence") and end - begin <= HEADER_LENGTH:
        return end, end
    header = _next_header(text, begin, end)
    if header is None:
        return (begin, end) if left.kind == "start" or end - begin > HEADER_LENGTH else (end, end)
    known = _without_header(text, left, begin, header)
    if left.kind == "soft" and _is_licence(text, begin, header):
        return end, end
    return (known, header) if header - known > _TITLE_LENGTH or left.kind == "start" else (end, end)


def _next_header(text: str, begin: int, end: int) -> int | None:
    """Where the header begins that ends at `end`; None if its first paragraph is not known."""
    paragraphs = PARAGRAPH.finditer(text, max(begin, end - HEADER_LENGTH), end)
    return next((match.start(1) for match in paragraphs if SIGNATURE.match(match[1])), None)


def _without_header(text: str, left: Mark, begin: int, end: int) -> int:
    """Where the header without a mark ends that follows a mark, or the licence before it."""
    first = [match[1] for match in islice(PARAGRAPH.finditer(text, begin, end), _FIRST)]
    if left.kind in ("end", "licence"):
        licence = (
            bool(first)
            and _say(first, LICENCE_WORDS)
            and (sum(bool(LICENCE_WORDS.search(part)) for part in first) > 1 or bool(HEADER_WORDS.search(first[0])))
        )
        return known_end(text, begin, end, LICENCE_WORDS, CREDIT) if licence else begin
    if left.kind == "file":
        signed = bool(_NAMED.search(text[:_BEGINNING]))
    else:
        signed = left.kind != "note" and any(map(SIGNATURE.match, first))
    return known_end(text, begin, end, HEADER_WORDS, CREDIT) if signed else begin


def _is_licence(text: str, begin: int, end: int) -> bool:
    """Whether most of a piece are paragraphs of the licence."""
    return end - begin <= HEADER_LENGTH and _say(
        [match[1] for match in PARAGRAPH.finditer(text, begin, end)], LICENCE_WORDS
    )


def _say(paragraphs: list[str], words: re.Pattern[str]) -> bool:
    """Whether paragraphs with some words are at least half of the text."""
    return 2 * sum(len(part) for part in paragraphs if words.search(part)) >= sum(map(len, paragraphs))
