"""What happens where a template that nobody here knows was removed.

The place of a gap tells whether words are missing. It was markup where it stood alone in its line, behind a sentence,
at the end of an item of a list, directly behind a word as notes are, or in front of a line that begins with a capital.
Anywhere else the sentence lost words:

1. In brackets, the part between commas, semicolons or dashes goes, and the brackets with their last part.
2. Otherwise the sentence goes.

Both are counted. Where a sentence ends is not always clear; then more is dropped, never half of one.
"""

# ruff: noqa: RUF001 (characters that look alike are what these strings are about)

import re
from dataclasses import dataclass

from puna.data.readers.wikitext_marks import BREAK, END, GAP, HOLE, SPOKEN, STASHED


@dataclass(slots=True)
class Gaps:
    """Counts of gaps where words were."""

    mended: int = 0
    """In brackets, whose part was removed."""
    sentences: int = 0
    """Sentences that were dropped."""
    bytes: int = 0
    """Their size in UTF-8."""
    mended_bytes: int = 0
    """What went out of brackets, with them where nothing is left, in UTF-8."""


_RUN = re.compile(rf"{GAP}(?:[ {HOLE}]*{GAP})+")
_BRACKETED = re.compile(r"(?<![^\s\x01\x06]) ?(?:\(([^()]*)\)|（([^（）]*)）)")
_PART = re.compile(r"([;,，；]| [–—-] )")
_STOPS = ".!?…。"
_CLOSERS = "\"'”’»)]“"
_OPENERS = "([{«„‚/=+×~≈≤≥$€£¥–—−-"
_SENTENCE = re.compile(rf"[{re.escape(_STOPS)}][{re.escape(_CLOSERS)}{HOLE}]*[ {HOLE}]+(?=\S)|。|{BREAK}")
_LAST_WORD = re.compile(r"([\w]+)$")
_ELIDED = re.compile(
    r"(?:\W|^)(?:[cdjlmnst]|qu|(?:jus|lors|puis|quoi)qu|[adns]?ell|d?all|[dns]ull|coll|un|quest|sant|quell|bell|tutt|anch|com"
    r"|dov|grand|pe?r)['’]\Z",
    re.IGNORECASE,
)
"""A word of French, Italian or Catalan that has lost its vowel before the next word, which is what the gap was."""
_SHORT = """
ca etc vs al fig nr no dr st ul zob resp art op cit ed sv sr jr mr mrs ms prof gen col lt sgt capt gov sen rep rev hon
approx max min vol chap inc ltd bros dept univ assn ave blvd mt ft jan feb mar apr jun jul aug sep sept oct nov dec
св ул им др см гр род проф акад ген стр рис тыс млн млрд напр ок обл вул див ред вид изд núm pág sra dra
"""
_ABBREVIATED = frozenset(_SHORT.split())
_VOWELS = frozenset("aeiouyáéíóúàèìòùâêîôûäëïöüåæøőűăąęěůаеиоуыэюяёіїєъ")


_SPOKEN = re.compile(rf"{SPOKEN}([^{SPOKEN}{END}]*){END}")
_SPOKEN_OR_BRACKET = re.compile(rf"{_SPOKEN.pattern}|[()]")


def mend(line: str, gaps: Gaps, *, item: bool) -> str:
    """The line without gaps: what was markup becomes a hole, what was words is mended or dropped, and counted.

    Args:
        line: A line of rendered wikitext.
        gaps: The counts, which grow.
        item: Whether the line is an item of a list.
    """
    if not any(character.isalnum() or character == STASHED for character in line):
        return line.replace(GAP, HOLE)
    line = _without_markup(_RUN.sub(GAP, line), item=item)
    for _ in range(4):
        if GAP not in line or not ("(" in line or "（" in line):
            break
        line, count = _BRACKETED.subn(lambda match: _bracket(match, gaps), line)
        if not count:
            break
    return _without_sentences(line, gaps) if GAP in line else line


def _without_markup(line: str, *, item: bool) -> str:
    parts = line.split(GAP)
    written = parts[0]
    for place in range(1, len(parts)):
        before = written[-200:].rpartition(BREAK)[2].replace(HOLE, "")
        after = parts[place].partition(BREAK)[0].replace(HOLE, "")
        if not after and place + 1 < len(parts):
            after = "x"  # another gap follows
        written += (HOLE if _is_markup(before, after, item=item) else GAP) + parts[place]
    return written


def _is_markup(before: str, after: str, *, item: bool) -> bool:
    left, right = before.rstrip(" "), after.lstrip(" ")
    if not left:
        return not right or not (right[0].islower() or right[0] in ",;.)–—")
    if left.rstrip(_CLOSERS)[-1:] in tuple(_STOPS) and not right[:1].islower() and right[:1] not in (",", ";"):
        return True
    if left[-1] in _OPENERS or left[-1] == GAP or _ELIDED.search(before[-12:]):
        return False
    if not right:
        return left[-1] not in ":," if item else before[-1] != " "
    return before[-1] != " " and not right[0].isalnum() if after[0] != " " else before[-1] != " "


def _bracket(match: re.Match[str], gaps: Gaps) -> str:
    """Brackets without their parts that have a gap."""
    content = match[1] if match[1] is not None else match[2]
    if GAP not in content:
        return match[0]
    gaps.mended += content.count(GAP)
    pieces = _PART.split(content)
    kept = "".join(
        (pieces[place - 1] if place else "") + piece
        for place, piece in enumerate(pieces)
        if not place % 2 and GAP not in piece
    ).strip(" ;,–—-，；")
    before = " " if match[0][0] == " " else ""
    opening, closing = ("(", ")") if match[1] is not None else ("（", "）")
    rest = f"{opening}{kept}{closing}" if kept.strip(HOLE + " ") else ""
    gaps.mended_bytes += _size(match[0].strip()) - _size(rest)
    return before + (rest or HOLE)


def _size(text: str) -> int:
    """Bytes in UTF-8, the marks of gaps and holes not counted."""
    return len(text.replace(GAP, "").replace(HOLE, "").encode("utf-8", "surrogatepass"))


def _without_sentences(line: str, gaps: Gaps) -> str:
    kept, start = [], 0
    for end in [*_ends(line), len(line)]:
        sentence = line[start:end]
        start = end
        if GAP in sentence:
            gaps.sentences += 1
            gaps.bytes += _size(sentence.strip())
        else:
            kept.append(sentence)
    return "".join(kept)


def _ends(line: str) -> list[int]:
    """The places behind the sentences of a line, save the last one."""
    ends = []
    for match in _SENTENCE.finditer(line):
        if match[0] not in (BREAK, "。"):
            following = line[match.end()]
            if (
                following.islower()
                or following.isdecimal()
                or (match[0][0] == "." and _is_short(line[max(0, match.start() - 40) : match.start()]))
            ):
                continue
        ends.append(match.end())
    return ends


def _is_short(before: str) -> bool:
    """Whether a stop behind this text marks an abbreviation or an ordinal number."""
    word = _LAST_WORD.search(before)
    if not word:
        return False
    text = word[1]
    lower = text.lower()
    if len(text) == 1 or (text.isdecimal() and len(text) < 3) or lower in _ABBREVIATED:
        return True
    return len(text) < 5 and text.islower() and not _VOWELS.intersection(lower)


def speech(line: str) -> str:
    """The line with how words are spoken where that is part of a sentence, and holes for it in brackets and alone."""
    parts, depth, position = [], 0, 0
    if not any(character.isalnum() for character in _SPOKEN.sub("", line)):
        return _SPOKEN.sub(HOLE, line)
    for match in _SPOKEN_OR_BRACKET.finditer(line):
        parts.append(line[position : match.start()])
        position = match.end()
        if match[1] is None:
            depth = max(0, depth + (1 if match[0] == "(" else -1))
            parts.append(match[0])
        else:
            parts.append(HOLE if depth else match[1])
    return "".join([*parts, line[position:]]).replace(SPOKEN, "")
