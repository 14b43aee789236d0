"""The lines of a book of Project Gutenberg about who made the file, and its placeholders for pictures."""

import re

from puna.data.readers.gutenberg_marks import PARAGRAPH
from puna.data.text.decode import clean_text

_WORK = (
    r"produced|prepared|transcribed|scanned|typed|keyed|digiti[sz]ed|proofed|proofread|converted|created|contributed"
    r"|submitted|provided|posted|updated|re-?prepared"
)
_MAKER = (
    r"@|https?:|www\.|\be-?texts?\b|\be-?books?\b|proofread|pgdp|gutenberg|internet\s+archive|google\s+(?:books|print)"
    r"|gallica|million\s+book|\bocr\b|html\s+version|images\s+generously"
)
CREDIT = re.compile(
    rf"[^\w\n]*(?:(?:text\s+file\s+)?(?:{_WORK})(?:\s+and\s+\w+)?\s+(?:from\s[^\n]{{0,80}}\n?[^\n]{{0,80}}\s)?by\b"
    r"|(?:project\s+gutenberg\s+)?e-?(?:text|book)\s+(?:was\s+)?(?:prepared|produced|scanned|typed|transcribed)"
    r"|th(?:is|e)\s+(?:project\s+gutenberg\s+)?(?:e-?text|e-?book|file|text)\s+(?:was|is|has\s+been)\s+(?:first\s+)?"
    rf"(?:{_WORK}|made)"
    r"|html\s+version|proofread|updated?:|credits:|(?:and\s+|by\s+)?(?:the\s+)?(?:project\s+gutenberg\s+)?(?:online\s+)?"
    r"distributed\s+proof|note:\s+(?:project\s+gutenberg\s+also\s+has|images\s+of\s+the\s+original)"
    r"|[-+|\s]*transcriber.{0,2}\s+notes?\b"
    r"|(?:produit|préparé|numérisé)\s+par\b|(?:dieser?s?\s+e-?(?:text|book)\s+wurde|erstellt\s+von|produziert\s+von)\b"
    r"|(?:prodotto|realizzato)\s+da\b|(?:produzido|preparado)\s+por\b|(?:producido)\s+por\b|geproduceerd\s+door\b)",
    re.IGNORECASE,
)
"""Beginning of a paragraph about who made the file, where such paragraphs stand: first in the book."""
_SURE = re.compile(
    rf"(?=[\s\S]{{0,600}}(?:{_MAKER}))[^\w\n]*(?:(?:this|the)\s+(?:project\s+gutenberg\s+)?(?:e-?text|e-?book|file)\b"
    rf"|(?:text\s+file\s+)?(?:{_WORK})\b[\s\S]{{0,160}}?\bby\b|e-?(?:text|book)\s+(?:{_WORK})|(?:many\s+)?thanks\s+to\b"
    r"|[^\n]{0,60}distributed\s+proofread)",
    re.IGNORECASE,
)
"""Beginning of such a paragraph that cannot be the book's own, wherever it stands."""
_ADDRESS = re.compile(r"(?:[^\n]{0,80}\n)?[^\n]{0,80}[\w.+-]+@[\w-]+\.[\w.-]+[^\n]{0,40}\n?\Z")
"""A short paragraph with an e-mail address."""
_TITLE_OF_NOTE = re.compile(r"\W*transcriber.{0,2}\s+notes?\W*\Z", re.IGNORECASE)
_BOX = re.compile(r"[ \t]*[+|]")
_PLACEHOLDER = re.compile(
    r"\[(?:Illustrations?|Illustratie|Afbeelding|Ilustraci[oó]n|Ilustra[cç][aã]o|Illustrazione|Abbildung|Kuva"
    r"|Kuvitusta|Figura?)[.:]?\s*\][ \t]*(?:\n[ \t]*)*(?:\n|\Z)",
    re.IGNORECASE,
)
"""A paragraph that says only that a picture was here; one with a caption is text."""
_FIRST, _NEAR, _LAST = 8, 8, 4
"""Paragraphs about the makers that may come first, those behind them and the last ones that are looked at, too."""
_LONGEST_NOTE = 8000
"""Characters of the longest note of a transcriber behind a book."""
_LINES = 8
"""Most lines of a paragraph about the makers that stands among others."""


def without_credits(book: str) -> str:
    """A book without what its makers say about themselves and their work, before and behind it."""
    book = _PLACEHOLDER.sub(_unless_in_line, book)
    begin = _first_end(book)
    cuts = []
    position = begin
    for _ in range(_NEAR):
        match = PARAGRAPH.match(book, position)
        if match is None:
            break
        if _is_sure(match[1]):
            cuts.append(match.span())
        position = match.end()
    end = _note_begin(book, begin)
    for match in [*PARAGRAPH.finditer(book, max(begin, end - _LONGEST_NOTE), end)][-_LAST:]:
        if _is_sure(match[1]) and match.span() not in cuts:
            cuts.append(match.span())
    pieces = []
    for start, stop in cuts:
        pieces.append(book[begin:start])
        begin = max(begin, stop)
    return clean_text("".join([*pieces, book[begin:end]]))


def _unless_in_line(match: re.Match[str]) -> str:
    """Nothing in place of a placeholder that begins its line, else itself."""
    text, begin = match.string, match.start()
    return match.group() if text[text.rfind("\n", 0, begin) + 1 : begin].strip() else ""


def _is_sure(paragraph: str) -> bool:
    return paragraph.count("\n") <= _LINES and bool(_SURE.match(paragraph) or _ADDRESS.match(paragraph))


def _first_end(book: str) -> int:
    """The end of the paragraphs about the makers that the book begins with."""
    position = 0
    for _ in range(_FIRST):
        match = PARAGRAPH.match(book, position)
        if match is None:
            break
        paragraph = match[1].strip()
        if not (CREDIT.match(paragraph) or _is_sure(match[1])):
            break
        position = _note_end(book, match)
    return position


def _note_end(book: str, match: re.Match[str]) -> int:
    """The end of a note that begins with a paragraph: in brackets, in a box, or with its title alone."""
    paragraph, end = match[1].strip(), match.end()
    if paragraph.startswith("[") and "]" not in paragraph:
        close = book.find("]", end, end + 4000)
        return close + 1 if close >= 0 else end
    if _BOX.match(match[1]):
        while (more := PARAGRAPH.match(book, end)) and all(map(_BOX.match, more[1].strip("\n").split("\n"))):
            end = more.end()
        return end
    if _TITLE_OF_NOTE.match(paragraph) and (note := PARAGRAPH.match(book, end)):
        end = note.end()
        while note[1][0] in " \t" and (more := PARAGRAPH.match(book, end)) and more[1][0] in " \t":
            note, end = more, more.end()
    return end


def _note_begin(book: str, begin: int) -> int:
    """Where the transcriber's note at the end of the book begins; the end of the book if there is none."""
    for match in PARAGRAPH.finditer(book, max(begin, len(book) - _LONGEST_NOTE)):
        paragraph = match[1].strip()
        last = not book[match.end() :].strip()
        if _TITLE_OF_NOTE.match(paragraph) and not last:
            return match.start(1)
        if last and re.match(r"\W*transcriber.{0,2}\s+notes?\b", paragraph, re.IGNORECASE):
            return match.start(1)
    return len(book)
