r"""The marks by which Project Gutenberg has parted its files into header, book and licence, and its own sentences.

Since 1991 there were `*** START OF` and `*** END OF`, in the language of the book too, the "SMALL PRINT", the full
licence, and lines such as "End of Project Gutenberg's …". A line counts only where it can be a mark.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

HEADER_LENGTH = 40_000
"""Characters that a header may have. The longest, of 2001 to 2003, have some 20,000."""
_MARK_LINES = 4
"""Most lines of a paragraph that says "End of Project Gutenberg's …"; prose is longer."""
_BEHIND = 1000
"""Characters between such a line and a stronger mark within which it counts even inside a paragraph."""
_GAP_PARAGRAPHS, _GAP_LENGTH = 3, 800
"""What may stand between two known paragraphs of a header: titles, names, a list."""

_GUTENBERG = r"(?:Proje[ck]?[ck]?t[oe]?|Projekt\w{0,3}|Projet|Proyecto|Progetto)[ \t-]*\n?[ \t]*Gutenberg"
_STARS = r"[^\w\n*]{0,4}(?:\*[ \t]*){2,}"
_BEGINS = "START|BEGIN{1,2}|D[ÉE]BUT|ANFANG|INIZIO|COMIENZO|IN[IÍ]CIO|PRINCIPIO|ALKU|B[ÖO]RJAN|POCZ[ĄA]TEK|НАЧАЛО"
_ENDS = "END|ENDE|FIN|FINE|FINAL|EINDE|FIM|LOPPU|SLUTT?|KONIEC|KONEC|V[ÉE]GE|КОНЕЦ|ΤΕΛΟΣ"
_TO_GUTENBERG = r"\b(?:(?!\*\*)[^\n]){0,60}?\bGUTENBERG"
_REST = r"(?:(?!\*\*|\n[ \t]*\n)[\s\S]){0,400}(?:\*{2,}|(?=\n[ \t]*\n)|\Z)?[^\n]*"
"""The rest of a mark with stars, which may be broken into lines."""
_MARKS = re.compile(
    rf"""[ \t]*(?:
    (?P<start>(?:{_STARS}(?:{_BEGINS}){_TO_GUTENBERG}|(?-i:START[ ]OF[ ]TH(?:E|IS)[ ]PROJECT[ ]GUTENBERG)){_REST})
  | (?P<end>{_STARS}(?:{_ENDS}){_TO_GUTENBERG}{_REST})
  | (?P<small>[^\w\n]{{0,20}}(?:START\*{{0,2}}[ \t]?(?:THE[ \t])?|(?<=\*)[ \t]*)SMALL[ ]PRINT![^\n]*)
  | (?P<small_end>[^\n]{{0,20}}?(?:\*END\*{{0,2}}[ \t]?(?:THE[ \t])?SMALL[ ]PRINT|\["Small[ ]Print"[ ]V\.)[^\n]*)
  | (?P<licence>(?:\*{{2,3}}[ \t]*START:?[ \t]*FULL|THE[ ]FULL[ ]PROJECT[ ]GUTENBERG(?:-?tm|™)?)[ ]LICEN[SC]E[^\n]*)
  | (?P<soft>[^\w\n]{{0,10}}(?:This[ ]is[ ])?(?:the[ ])?(?:{_ENDS})[ \t]+
      (?:(?:[^\s]+[ \t]+){{0,4}}?[^\w\n]{{0,3}}{_GUTENBERG}
        |(?:of[ ]th[ei]s?|dieses|de[ ]cet?)[ \t]+e-?(?:text|book)\w{{0,2}}\b)[^\n]*)
  | (?P<note><<(?=[^<>]{{0,2000}}(?:GUTENBERG|ELECTRONIC[ ]VERSION))[^<>]{{0,4000}}>>[^\n]*)
    )""",
    re.IGNORECASE | re.VERBOSE,
)
"""Beginnings of lines that part a file; `note` stands between the plays of the complete Shakespeare."""
_WORDS = ("gutenberg", "small print", "full licen", "etext", "e-text", "ebook", "e-book", "<<")
"""Every mark has one of these in its first line, or in its second."""
_LAST_LINE = re.compile(
    r"^[ \t]*(?:\[(?:The )?End of [^\]\n]{1,200}(?:\n[^\]\n]{1,200}){0,2}\]"
    r"|Project Gutenberg (?:of )?Australia[^\n]{0,80})\s*\Z",
    re.IGNORECASE | re.MULTILINE,
)
"""How Project Gutenberg Canada and Australia end a file."""
_ELSEWHERE = re.compile(r"gutenberg (?:of )?(?:canada|australia)", re.IGNORECASE)
SIGNATURE = re.compile(
    rf"\W*(?:This is (?:a |an |the )?)?(?:The )?(?:COPYRIGHTED )?{_GUTENBERG}(?:'s|-tm|™)?(?: \w+)? E-?(?:text|book)"
    r"|[^\n]{0,60}\[\s*E-?(?:text|book)\s*#|[^\n]{0,20}\bA Project Gutenberg (?:of )?(?:Canada|Australia)"
    r"|\W*Project Gutenberg (?:of )?(?:Canada|Australia)",
    re.IGNORECASE,
)
"""Beginning of a paragraph that a header begins with, or that tells its number."""
_FIELDS = (
    r"\W*(?:title|author|editor|translator|illustrator|(?:original )?release date|posting date|language|edition"
    r"|(?:date )?(?:first posted|last updated|most recently updated)|character set encoding|ebook no\.?)[ \t]*:"
)
HEADER_WORDS = re.compile(
    rf"\A(?:{SIGNATURE.pattern}|{_FIELDS})"
    r"|\be-?texts?\b|this\s+e-?book|our\s+e-?books|these\s+e-?books|electronic\s+texts|plain\s+vanilla|small\s+print"
    r"|this\s+header|copyright\s+laws|legally\s+do\s+with\s+the|should\s+be\s+named|readable\s+by\s+both"
    r"|official\s+release\s+date|separate\s+sources\s+get|up\s+to\s+date\s+first\s+edition|\bdonations?\b"
    r"|gutenberg\s*/|gutenberg\.(?:net|org)|michael\s+s\.|mail\s+to:|e-?mail\s+request|information\s+by\s+e-?mail"
    r"|newsletters?\b|\bftp\b|contributions\s+are\s+being|all\s+50\s+states|fund\s*raising|ahead\s+of\s+schedule"
    r"|project\s+gutenberg\s+(?:of\s+)?(?:canada|australia)|(?:goal\s+of|about|contacting)\s+project\s+gutenberg"
    r"|file\s+was\s+first\s+posted",
    re.IGNORECASE,
)
"""What paragraphs of a header say; a header without a mark ends with the last of them."""
LICENCE_WORDS = re.compile(
    rf"{HEADER_WORDS.pattern}|gutenberg|electronic\s+works?|\bfoundation\b|disclaim|warrant|liabilit|indemnif|royalt"
    r"|trademark|public\s+domain|\blicen[sc]e|updated\s+editions|files\s+of\s+various\s+formats|copies\s+of\s+this",
    re.IGNORECASE,
)
"""What paragraphs of the licence say, too."""
PARAGRAPH = re.compile(r"(?:[ \t]*\n)*((?:[^\n]*\S[^\n]*(?:\n|\Z))+)")
"""Blank lines and a paragraph, which is group 1."""

Kind: TypeAlias = Literal["file", "start", "end", "small", "licence", "soft", "note"]
"""Kinds of marks. `file` is either end of the file, `small` a whole small print, `licence` the title of a licence or of
a small print without an end, `soft` is "End of Project Gutenberg's …", `note` a notice in the text."""


@dataclass(frozen=True)
class Mark:
    """A mark, with the characters that it covers."""

    kind: Kind
    begin: int
    end: int


def marks(text: str) -> list[Mark]:
    """The marks of a file in order, from its beginning to its end; they do not overlap."""
    found = [Mark("file", 0, 0)]
    for match in _found(text):
        kind: Any = match.lastgroup
        begin, end = match.span()
        if kind == "small_end":
            kind = "small"
            if found[-1].kind == "licence" and begin - found[-1].end < HEADER_LENGTH:
                begin = found.pop().begin
        elif kind == "small":  # until its end is found
            kind = "licence"
        found.append(Mark(kind, begin, end))
    if _ELSEWHERE.search(text, 0, HEADER_LENGTH) and (match := _LAST_LINE.search(text, found[-1].end)):
        found.append(Mark("soft", *match.span()))
    found.append(Mark("file", len(text), len(text)))
    return [*_counting(text, found)]


def _found(text: str) -> Iterator[re.Match[str]]:
    """The matches of marks, looked for only in lines that hold a word of theirs and those before them."""
    small = text.lower()
    if len(small) != len(text):  # a letter that is two in lower case
        small = "".join(letter if len(letter.lower()) > 1 else letter.lower() for letter in text)
    lines: set[int] = set()
    for word in _WORDS:
        place = small.find(word)
        while place >= 0:
            line = text.rfind("\n", 0, place) + 1
            lines |= {line, text.rfind("\n", 0, max(line - 1, 0)) + 1}
            if (stars := text.find("***", line, place)) > line:  # at the end of the book's last line
                lines.add(stars)
            place = small.find(word, place + 1)
    position = 0
    for line in sorted(lines):
        if line >= position and (match := _MARKS.match(text, line)):
            yield match
            position = match.end()


def _is_alone(text: str, begin: int) -> bool:
    """Whether the line before the one at `begin` is blank."""
    return begin == 0 or not text[text.rfind("\n", 0, begin - 1) + 1 : begin].strip()


def _counting(text: str, found: list[Mark]) -> Iterator[Mark]:
    """The marks without those of kind `soft` that are prose."""
    for index, mark in enumerate(found):
        if mark.kind != "soft":
            yield mark
            continue
        paragraph = PARAGRAPH.match(text, mark.begin)
        end = paragraph.end(1) if paragraph else mark.end
        following = found[index + 1]
        if _is_alone(text, mark.begin) and text.count("\n", mark.begin, end - 1) < _MARK_LINES:
            yield Mark("soft", mark.begin, min(end, following.begin))
        elif following.kind in ("end", "small", "licence", "file") and following.begin - mark.end < _BEHIND:
            yield mark


def known_end(text: str, begin: int, end: int, words: re.Pattern[str], skipped: re.Pattern[str]) -> int:
    """The end of the last paragraph of a header or licence that begins at `begin`; `begin` if there is none.

    Args:
        text: The file's text.
        begin: Where a header or licence may begin.
        end: Where it must have ended.
        words: What its paragraphs say.
        skipped: Beginnings of paragraphs that may be of either side.
    """
    known, paragraphs, length = begin, 0, 0
    for match in PARAGRAPH.finditer(text, begin, min(end, begin + HEADER_LENGTH)):
        if words.search(match[1]):
            known, paragraphs, length = match.end(), 0, 0
        elif not skipped.match(match[1]):
            paragraphs, length = paragraphs + 1, length + len(match[1])
            if paragraphs > _GAP_PARAGRAPHS or length > _GAP_LENGTH:
                break
    return known
