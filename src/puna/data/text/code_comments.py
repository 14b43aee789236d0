"""The comments of source code, without their marks, as passages of plain lines.

A scan from the beginning that knows the language's comments and, line by line, its strings, so that a string that
looks like a comment is not taken for one. It is not a parser: what it gets wrong ends with the line, except in strings
of several lines, of which it knows triple quotes, back quotes, and the documents that follow `<<NAME`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from puna.data.text.code_languages import COMMENTS, Comments

PROSE = frozenset({"markdown", "restructuredtext", "html"})
"""Languages whose text is for people, outside comments as well."""

_ANY = Comments(("//", "#", "--", ";", "%"), (("/*", "*/"), ("<!--", "-->"), ("{-", "-}"), ("(*", "*)")))
_WITHIN_A_LINE = ("#", "//", ";", "%", "--", "!", "'", "#=", "::")
"""Marks that may follow code on their line; the others begin a line."""
_DOCSTRINGS = frozenset({"python", "cython", "starlark", "bazel", "elixir", "julia", "gdscript"})
_TRIPLE = _DOCSTRINGS | {
    "kotlin",
    "scala",
    "java",
    "swift",
    "c#",
    "toml",
    "dart",
    "coffeescript",
    "groovy",
    "nim",
    "f#",
}
_BACK_QUOTES = frozenset({"go", "javascript", "typescript", "vue", "svelte"})
_HEREDOCS = frozenset({"shell", "perl", "ruby", "php", "terraform"})
_SINGLE_QUOTES = frozenset({
    "python", "cython", "starlark", "bazel", "gdscript", "javascript", "typescript", "php", "perl", "ruby", "shell",
    "sql", "lua", "pascal", "css", "less", "sass", "groovy", "gradle", "dart", "coffeescript", "toml", "makefile",
    "awk", "tcl", "powershell", "cmake", "meson", "vue", "svelte", "julia", "elixir", "nix",
})  # fmt: skip
_NO_STRINGS = PROSE | {"tex", "maven", "jsp", "batch", "smalltalk", "vim script", "cobol", "makefile"}
_INDENTED = frozenset({"fortran", "cobol", "elixir", "html", "maven", "vue", "svelte", "jsp"})
"""Languages in which a notice at the beginning may be indented; elsewhere such a comment belongs to a piece of code."""
_POD = ("=pod", "=cut")
_HEREDOC = r"<<[-~<]?[\"']?(?P<heredoc>[A-Za-z_]\w*)"
_OPENS_VALUE = re.compile(r"[(,=\[{+%\"']\s*\Z")
"""Code before a string that is not documentation."""
_LOST = 8
"""How many documents after `<<NAME` may be without an end before none is looked for any more."""

_BEFORE = re.compile(r"^(?:[ \t]*(?:[*#/;%!|'\"<>{}~=+.@:-]|\(\*|\{-))+(?<!@)[ \t]*|^[ \t]+", re.MULTILINE)
_AFTER = " \t\r*#/;%|'\"<>{}~=-"
_RUNS = re.compile(r"([^\w\s])\1{3,}|[ \t]{2,}")
_PROSE_AFTER = 500
"""Characters of prose that belong to what stands at its end."""
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,300}>")


@dataclass(frozen=True, slots=True)
class Passage:
    """Comments with nothing but blank space between them, or all of a text that is prose."""

    text: str
    """Its lines without marks of comments."""
    early: bool
    """Whether little code comes before, and it is not a comment within a piece of code."""
    late: bool
    """Whether nothing comes after."""
    prose: bool = False


_EARLY = 1500
"""Characters of code that may come before a notice at the beginning: imports, say."""


def passages(text: str, language: str, end: int) -> Iterator[Passage]:
    """The passages of a file, in their order, as far as they begin before a position or reach it.

    Args:
        text: The file.
        language: A key of `COMMENTS`; for another one any usual comment counts.
        end: The position.
    """
    parts: list[str] = []
    code, code_before, last = 0, 0, 0
    inner = False
    for start, stop, words in _comments(text, language, end):
        if gap := text[last:start]:
            blank = not gap.strip()
            if parts and not blank:
                yield _passage(parts, early=not inner and code_before <= _EARLY, late=False)
                parts = []
            code += 0 if blank else len(gap)
            if parts and gap.count("\n") > 1:
                parts.append("")
        if not parts:
            code_before = code
            inner = code > 0 and language not in _INDENTED and start > 0 and text[start - 1] in " \t"
        parts.append(words)
        last = stop
    if parts:
        yield _passage(parts, early=not inner and code_before <= _EARLY, late=not inner and not text[last:].strip())
    if language in PROSE:
        words = text[: end + _PROSE_AFTER]
        yield Passage(plain(_TAG.sub(" ", words) if language == "html" else words), early=False, late=False, prose=True)


def _passage(parts: list[str], *, early: bool, late: bool) -> Passage:
    return Passage(plain("\n".join(parts)), early, late)


def plain(text: str) -> str:
    """Lines without what marks and frames them as a comment, such as `# ` or ` * `."""
    lines = [line.rstrip(_AFTER) for line in _BEFORE.sub("", text).split("\n")]
    lines = [line[:-2].rstrip(_AFTER) if line.endswith("*)") else line for line in lines]
    return _RUNS.sub(lambda match: match[1] * 3 if match[1] else " ", "\n".join(lines))


def _comments(text: str, language: str, end: int) -> Iterator[tuple[int, int, str]]:
    """Begin, end and words of each comment that begins before a position."""
    pattern, closings = _scanner(language)
    missing: set[str] = set()
    lost = position = last = 0
    while match := pattern.search(text, position):
        if match.start() >= end and text[last : match.start()].strip():
            return
        position = match.end()
        if match.lastgroup == "line":
            stop = text.find("\n", position)
            stop = len(text) if stop < 0 else stop
            yield match.start(), stop, text[position:stop]
            position = last = stop
        elif match.lastgroup in ("block", "triple", "back"):
            opening = match[match.lastgroup].strip()
            closing = closings.get(opening, opening)
            stop = -1 if closing in missing else text.find(closing, position)
            if stop < 0:
                missing.add(closing)
                continue
            if match.lastgroup == "block" or (match.lastgroup == "triple" and _documents(text, match.start())):
                last = stop + len(closing)
                yield match.start(), last, text[position:stop]
            position = stop + len(closing)
        elif match.lastgroup == "heredoc" and lost < _LOST:
            stop = re.compile(rf"^[ \t]*{match['heredoc']}\b", re.MULTILINE).search(text, position)
            position, lost = (stop.end(), lost) if stop else (position, lost + 1)


def _documents(text: str, start: int) -> bool:
    """Whether a string with three quotes begins its line and is not a value."""
    line = text.rfind("\n", 0, start) + 1
    before = text[line:start].strip().lstrip("@").rstrip("rRuUbB")
    return before in ("", "doc", "moduledoc", "typedoc") and not _OPENS_VALUE.search(text, max(0, line - 200), line)


@lru_cache(maxsize=200)
def _scanner(language: str) -> tuple[re.Pattern[str], dict[str, str]]:
    """A pattern that finds strings and the beginnings of comments, and what ends each kind of comment."""
    comments = COMMENTS.get(language, _ANY)
    blocks = dict(comments.block) | (dict([_POD]) if language == "perl" else {})
    found = []
    if language in _TRIPLE:
        found.append("(?P<triple>\"\"\"|''')")
    if blocks:
        ordered = sorted(blocks, key=len, reverse=True)
        openings = [rf"^{re.escape(mark)}" if mark[0] == "=" else re.escape(mark) for mark in ordered]
        if language == "perl":
            openings.append(r"^=(?:head\d|begin|over|encoding)")
        found.append(f"(?P<block>{'|'.join(openings)})")
    if comments.line:
        inner = [re.escape(mark) for mark in comments.line if mark in _WITHIN_A_LINE]
        outer = [rf"^[ \t]*{re.escape(mark)}" for mark in comments.line if mark not in _WITHIN_A_LINE]
        if inner:
            outer.append(rf"(?<![^\s;{{}}()\[\],>])(?:{'|'.join(inner)})")
        found.append(f"(?P<line>{'|'.join(outer)})")
    if language not in _NO_STRINGS:
        if language in _HEREDOCS:
            found.append(_HEREDOC)
        if language in _BACK_QUOTES:
            found.append("(?P<back>`)")
        found.append(r'"(?:[^"\\\n]|\\.)*"')
        single = r"(?:[^'\\\n]|\\.)*" if language in _SINGLE_QUOTES else r"(?:[^'\\\n]|\\[^\n]{1,9})"
        found.append(f"'{single}'")
    closings = blocks | {mark: "=cut" for mark in ("=begin", "=over", "=encoding") if language == "perl"}
    closings |= {f"=head{level}": "=cut" for level in range(10)} if language == "perl" else {}
    return re.compile("|".join(found), re.MULTILINE), closings
