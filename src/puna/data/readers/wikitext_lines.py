"""Turns lines of rendered wikitext into paragraphs and lists, without quotes for bold text and without holes."""
# ruff: noqa: RUF001 (characters that look alike are what these strings are about)

import re

from puna.data.readers.wikitext_gaps import Gaps, mend, speech
from puna.data.readers.wikitext_marks import (
    BLANK,
    BREAK,
    BULLET,
    GAP,
    HOLE,
    INDENT,
    NUMBER,
    PRE,
    ROW,
    SPOKEN,
    STASHED,
    TERM,
)  # fmt: skip

_LIST = re.compile(r"\n[*#:;]+")
_MARKS = BULLET + NUMBER + INDENT + TERM
_MARK_OF = str.maketrans("*#:;", _MARKS)
_QUOTES = re.compile(r"''+")
_BRACKETED = re.compile(r" ?(?:\(([^()]*)\)|（([^（）]*)）)")
_ONLY_LABEL = re.compile(
    rf"(?:[^\W\d]+(?:[ '-][^\W\d]+){{0,2}}:|named|pronounced|pronunciation|ipa|listen|from|or|also|and)?[\s{HOLE}]*",
    re.IGNORECASE,
)
_HOLES = re.compile(rf" ?{HOLE}(?: ?{HOLE})*+ ?")
_NEEDLESS = re.compile(rf" ?{HOLE} ?(?=[.,;:!?)\]»”]|$)|(?<=[(\[«“]) ?{HOLE} ?")
_SPACES = re.compile(r"[ \t\xa0]+")
_DEEPEST = 30
"""How deep nested lists are indented."""
_RULE = re.compile(r"-{4,}")
_PREFORMATTED = re.compile(rf"\n (?=[^\n]*\w)(?! *[|!<={{}}{HOLE}{GAP}\[])")
_RUNS = re.compile(r"^ +|  +")


def mark_lists(text: str) -> str:
    """The text with marks for the `*#:;` at the beginnings of its lines."""
    return _LIST.sub(lambda match: match[0].translate(_MARK_OF), f"\n{text}")[1:]


def mark_preformatted(text: str) -> str:
    """The text with marks at the lines that begin with a blank, which MediaWiki shows as they are."""
    return _PREFORMATTED.sub(f"\n{PRE}", f"\n{text}")[1:]


class _Numbers:
    """The numbers of numbered lists, which end where their marks end, as in MediaWiki (`BlockLevelPass`)."""

    def __init__(self) -> None:
        self._marks = ""
        self._counts: list[int] = []

    def end(self) -> int:
        """End all lists; returns 0, the number of what is not an item."""
        self._marks, self._counts = "", []
        return 0

    def next(self, marks: str) -> int:
        """Count an item; returns its number in its list."""
        same = 0
        for mine, other in zip(marks.replace(TERM, INDENT), self._marks, strict=False):
            if mine != other:
                break
            same += 1
        self._counts = self._counts[:same] + [0] * (len(marks) - same)
        self._marks = marks.replace(TERM, INDENT)
        self._counts[-1] += 1
        return self._counts[-1]


def paragraphs(text: str, gaps: Gaps) -> str:
    """Rendered wikitext as plain paragraphs with a blank line between them, and lists with an item on each line.

    Args:
        text: The text, with marks.
        gaps: Counts of gaps, which grow.
    """
    written: list[str] = []
    numbers = _Numbers()
    last = ""
    lines = text.split("\n")
    for line in _joined(lines) if GAP in text else lines:
        if not line:
            numbers.end()
            last = "item" if last == "item" else ""
            continue
        content = line.lstrip(_MARKS)
        marks = line[: len(line) - len(content)]
        kind = "item" if marks else "preformatted" if content.startswith(PRE) else "paragraph"
        content = _content(content, gaps, kind)
        number = numbers.next(marks) if marks else numbers.end()
        if not content:
            last = "item" if last == "item" else ""
            continue
        if marks:
            written += ["\n" if last else "\n\n", _item(marks, content, number)]
        else:
            between = {"paragraph": " ", "preformatted": "\n"}[kind] if last == kind else "\n\n"
            written += [between, content]
        last = kind
    return "".join(written).strip()


def _joined(lines: list[str]) -> list[str]:
    """The lines, where those of one paragraph are one line if a sentence that runs over their end has a gap."""
    joined = [""]
    for line in lines:
        both = joined[-1], line
        if GAP in "".join(both) and all(map(_is_prose, both)) and joined[-1].rstrip()[-1:] not in tuple(".!?:"):
            joined[-1] = f"{both[0]} {line}"
        else:
            joined.append(line)
    return joined


def _is_prose(line: str) -> bool:
    return line[:1] not in ("", PRE, ROW, *_MARKS) and any(character.isalnum() for character in line)


def _item(marks: str, content: str, number: int) -> str:
    """A line of a list; `number` is its place in it."""
    content = " ".join(content.split())
    kind = marks[-1]
    indent = "  " * sum(mark in (BULLET, NUMBER) for mark in marks[:-1][:_DEEPEST])
    if kind == NUMBER:
        return f"{indent}{number}. {content}"
    if kind == BULLET:
        return f"{indent}- {content}"
    if kind == TERM:
        content = content.replace(" : ", ": ", 1)
    return f"{indent}{content}"


def _content(line: str, gaps: Gaps, kind: str) -> str:
    """A line without its marks; empty if nothing is left."""
    if ROW in line and line.lstrip(HOLE + GAP + " \t").startswith(ROW):
        return ""
    if "----" in line and _RULE.fullmatch(line.strip()):
        return ""
    line = quotes(line)
    if SPOKEN in line:
        line = speech(line)
    if GAP in line:
        line = mend(line, gaps, item=kind == "item")
    if HOLE in line:
        line = fill_holes(line)
        if not any(character.isalnum() or character == STASHED for character in line):
            return ""
    if kind == "preformatted":
        return _RUNS.sub(lambda run: BLANK * len(run[0]), line.replace(PRE, "")).rstrip(f"{BLANK} ")
    parts = _SPACES.sub(" ", line).split(BREAK)
    return "\n".join(part for part in map(str.strip, parts) if part)


def fill_holes(line: str) -> str:
    """The line repaired where something was removed: no empty brackets, no blank before a stop, one between words."""
    line = _HOLES.sub(_one_hole, _SPACES.sub(" ", line))
    for _ in range(2):
        line = _BRACKETED.sub(_brackets, line)
    line = _NEEDLESS.sub("", _HOLES.sub(_one_hole, line))
    return _HOLES.sub(lambda match: " " if " " in match[0] else "", line)


def _one_hole(holes: re.Match[str]) -> str:
    """One hole for neighbouring ones, with the blanks around it."""
    first, last = holes[0][0], holes[0][-1]
    blank_after = last == " " or " " in holes[0].strip(" ")
    return (" " if first == " " else "") + HOLE + (" " if blank_after else "")


def _brackets(match: re.Match[str]) -> str:
    """`(Greek: …; born 1950)` without the parts that are empty now."""
    content = match[1] or match[2] or ""
    if HOLE not in content:
        return match[0]
    kept: list[str] = []
    for part in re.split(r"(?<=[;,])", content):
        words = part.rstrip("; ,")
        if HOLE not in words or not _ONLY_LABEL.fullmatch(words.strip()):
            kept.append(part)
        elif kept and part.endswith(";"):
            kept[-1] = kept[-1].rstrip(" ,;") + ";"
    text = "".join(kept).strip(" ;,")
    before = " " if match[0][0] == " " else ""
    opening, closing = ("(", ")") if match[1] is not None else ("（", "）")
    return f"{before}{opening}{text}{closing}" if text.strip(HOLE + " ") else before + HOLE


def quotes(line: str) -> str:
    """The line without the quotes for italics and bold; an apostrophe beside them stays, as in `l'''amico''`.

    The rule for odd runs is MediaWiki's (`Parser::doQuotes`): where both italics and bold stay open, one run of three
    is an apostrophe and italics: the first after a word of a single letter, else after a longer word or a blank.
    """
    runs = list(_QUOTES.finditer(line))
    if not runs:
        return line
    lengths = [len(run[0]) for run in runs]
    kept = [1 if length == 4 else max(0, length - 5) for length in lengths]
    marks = [3 if length == 4 else min(length, 5) for length in lengths]
    if sum(mark in (3, 5) for mark in marks) % 2 and sum(mark in (2, 5) for mark in marks) % 2:
        best = min((_rank(line, runs[n].start()), n) for n in range(len(runs)) if marks[n] == 3) if 3 in marks else None
        if best:
            kept[best[1]] += 1
    parts, position = [], 0
    for run, apostrophes in zip(runs, kept, strict=True):
        parts += [line[position : run.start()], "'" * apostrophes]
        position = run.end()
    return "".join([*parts, line[position:]])


def _rank(line: str, start: int) -> int:
    if not start or line[start - 1].isspace():
        return 2
    return 0 if start == 1 or line[start - 2].isspace() else 1
