"""Source code without the notice of copyright at its beginning.

A header is the first comment of a file, or the first few, as long as they mention copyright: a block, or consecutive
lines. Lines that machines read stay: `#!`, declarations of encodings, `<?php`, `//go:build` and the like.
"""

import re

from puna.data.text.code_languages import COMMENTS, Comments

_SPEAKS = re.compile(
    r"copyright|©|\(c\)\s*(?:19|20)\d\d|SPDX-License-Identifier|licen[cs]ed\s+under|all\s+rights\s+reserved",
    re.IGNORECASE,
)
_FOR_MACHINES = re.compile(
    r"#!|#.*\bcoding[:=]|#\s*frozen_string_literal|<\?(?:php|xml)|<!doctype|@charset|\{-#|//\s*\+build|//go:|//\s*@ts-"
    r"|//\s*eslint|/\*\s*eslint|#\s*(?:syntax|escape)=|%!|--!strict|(?:;|#|//|/\*).*-\*-.*-\*-[ \t]*(?:\*/[ \t]*)?$",
    re.IGNORECASE | re.MULTILINE,
)
"""The beginnings of lines that stay, where they are before the header or end it."""
_DOCUMENTS = ("///", "//!", "--|", "-- |")
"""Documentation comments, whose markers are longer than the plain marker of the same language."""
_MOST = 5
"""How many comments may form the header."""
_LINES = 2000
"""How many lines a comment of the header may have."""
_ANY = Comments(("//", "#", "--", ";", "%"), (("/*", "*/"), ("<!--", "-->"), ("{-", "-}"), ("(*", "*)")))
"""Comments of a language that is not in the table."""


def without_copyright(text: str, language: str) -> str:
    """The code without its first comments, as far as they mention copyright.

    Args:
        text: A file.
        language: A key of `COMMENTS`; for another language any usual comment counts.
    """
    comments = COMMENTS.get(language, _ANY)
    begin = _after_machine_lines(text)
    position = begin
    for _ in range(_MOST):
        start = _after_blank_lines(text, position)
        end = _comment_end(text, start, comments)
        if end <= start or not _SPEAKS.search(text, start, end):
            break
        position = end
    if position == begin:
        return text
    rest = _after_blank_lines(text, position)
    return text[:begin] + text[rest:]


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end + 1


def _after_blank_lines(text: str, start: int) -> int:
    """The beginning of the first line that is not blank."""
    while start < len(text) and not text[start : (end := _line_end(text, start))].strip():
        start = end
    return start


def _after_machine_lines(text: str) -> int:
    """The position after the lines at the beginning that stay; blank lines among them do not end them."""
    end = 0
    while True:
        start = _after_blank_lines(text, end)
        if start >= len(text) or not _FOR_MACHINES.match(text, start):
            return end
        end = _line_end(text, start)


def _comment_end(text: str, start: int, comments: Comments) -> int:
    """The position after the comment at `start` and its line; `start` if there is no complete comment."""
    indented = (
        start + len(text[start : _line_end(text, start)]) - len(text[start : _line_end(text, start)].lstrip(" \t"))
    )
    for opening, closing in comments.block:
        if text.startswith(opening, indented):
            close = text.find(closing, indented + len(opening))
            if close < 0:
                return start
            end = close + len(closing)
            line_end = _line_end(text, end)
            # Code after the comment on the same line stays.
            return end if text[end:line_end].strip() else line_end
    for marker in comments.line:
        if text.startswith(marker, indented):
            return _lines_end(text, start, marker)
    return start


def _lines_end(text: str, start: int, marker: str) -> int:
    """The position after the lines that begin with the same marker as the first."""
    documents: bool | None = None
    end = start
    for _ in range(_LINES):
        line = text[end : _line_end(text, end)].strip()
        if not f"{line} ".startswith(marker) or _FOR_MACHINES.match(line):
            break
        if len(set(line)) > 1:  # a rule of slashes is neither
            documents = line.startswith(_DOCUMENTS) if documents is None else documents
            if line.startswith(_DOCUMENTS) != documents:
                break
        end = _line_end(text, end)
    return end
