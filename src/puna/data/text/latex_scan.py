"""Finds the ends of control sequences, groups in braces, options in brackets and spaces in LaTeX source."""

import re

LETTER = "A-Za-z@"
"""Letters of control words. `@` is a letter only in packages; in text an unknown name is split there."""
CONTROL = re.compile(rf"\\([{LETTER}]+|[^{LETTER}])", re.DOTALL)
"""A control sequence; its name without the backslash is group 1."""
SPACES = re.compile(r"[ \t]*(?:\n(?![ \t]*\n))?[ \t]*")
"""Space that TeX skips before an argument: it has no blank line, which would be a paragraph."""
MARK = "\0"
"""A character around the number of a protected piece of source; no text has it."""

_BRACES = re.compile(r"[{}]|\\.", re.DOTALL)
_BRACKETS = re.compile(r"[][{}]|\\.", re.DOTALL)


def group_end(text: str, start: int, stop: int | None = None) -> int:
    r"""The position after the group with its `{` at `start`; -1 if it is not closed before `stop`.

    `\{` and `\}` are characters, not braces.
    """
    depth = 0
    for match in _BRACES.finditer(text, start, len(text) if stop is None else stop):
        found = match.group()
        if found == "{":
            depth += 1
        elif found == "}":
            depth -= 1
            if depth <= 0:
                return match.end()
    return -1


def option_end(text: str, start: int, stop: int | None = None) -> int:
    """The position after the option with its `[` at `start`; -1 if it is not closed before `stop` or its group."""
    depth = 0
    for match in _BRACKETS.finditer(text, start + 1, len(text) if stop is None else stop):
        found = match.group()
        if found == "{":
            depth += 1
        elif found == "}":
            depth -= 1
            if depth < 0:
                return -1
        elif found == "]" and depth == 0:
            return match.end()
    return -1


def after_spaces(text: str, start: int) -> int:
    """The position of the first character at or after `start` that TeX does not skip before an argument."""
    match = SPACES.match(text, start)
    return match.end() if match else start


def token_end(text: str, start: int) -> int:
    """The position after the one token at `start`: a control sequence, a protected piece or a character."""
    if text[start] == "\\":
        match = CONTROL.match(text, start)
        return match.end() if match else start + 1
    if text[start] == MARK:
        end = text.find(MARK, start + 1)
        return end + 1 if end >= 0 else start + 1
    return start + 1


def ends_in_control_word(text: str) -> bool:
    """Whether a letter after `text` would become part of a command's name."""
    backslash = text.rfind("\\")
    if backslash < 0 or not text[backslash + 1 :].isalpha() or not text[backslash + 1 :].isascii():
        return False
    before = len(text[: backslash + 1]) - len(text[: backslash + 1].rstrip("\\"))
    return before % 2 == 1


def joined(parts: list[str]) -> str:
    r"""The parts joined; with a space where a command's name would grow, as in `\cal` and `A`."""
    if len(parts) < 2:
        return "".join(parts)
    out: list[str] = []
    for part in parts:
        if part and out and part[0].isascii() and part[0].isalpha() and ends_in_control_word(out[-1]):
            out.append(" ")
        if part:
            out.append(part)
    return "".join(out)


def without(text: str, cuts: list[tuple[int, int]]) -> str:
    """The text without some parts, given as (begin, end) in the order of their beginnings; they may overlap."""
    out, position = [], 0
    for start, end in cuts:
        out.append(text[position:start])
        position = max(position, end)
    return "".join(out) + text[position:]
