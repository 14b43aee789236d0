"""Patterns that say what a template's text is: words with fields for its arguments.

{1|text}   the first argument of these that is there: by number, from the end if negative, or by name
{2:e}      the same with a default
<, {3}>    nothing unless all fields directly inside have a value
@date      what a function makes of the call; `@join:, ` gives it an argument. It ends the pattern
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Words:
    """How a Wikipedia writes dates and numbers."""

    months: tuple[str, ...] = ()
    """Names from January on, in the form that follows a day."""
    nominative: tuple[str, ...] = ()
    """Names without a day, where they differ."""
    date: str = "{y}-{m}-{d}"
    month: str = "{y}-{m}"
    day: str = "{m}-{d}"
    """The forms of a date, of one without a day, and of one without a year; `d`, `m` and `y` are its parts."""
    first: str = "1"
    """The first day of a month."""
    thousands: str = ","
    decimal: str = "."
    least: int = 4
    """Digits from which on a number is parted into groups."""


@dataclass(frozen=True, slots=True)
class TemplateCall:
    """The use of a template, its arguments as text."""

    name: str
    """The name as written, without a colon and the part after it."""
    positional: list[str]
    named: dict[str, str]
    words: Words = field(default_factory=Words)
    title: str = ""
    """The title of the page."""

    def get(self, position: int) -> str:
        """A positional argument, counted from the end if the position is negative; empty if there is none."""
        inside = -len(self.positional) <= position < len(self.positional)
        return self.positional[position] if inside else self.named.get(str(position + 1), "")

    def value(self, keys: tuple[int | str, ...]) -> str:
        """The first argument that is not empty, of those with these numbers (from 1 on) or names."""
        for key in keys:
            found = self.named.get(key) if isinstance(key, str) else self.get(key - 1 if key > 0 else key)
            if found:
                return found
        return ""


Expansion: TypeAlias = Callable[[TemplateCall], str]
Function: TypeAlias = Callable[[TemplateCall, str], str]
"""Makes text of a call and of the argument that the pattern gives."""

_TOKEN = re.compile(r"\{([^{}]*)\}|([<>])|([^{}<>]+)")


@dataclass(frozen=True, slots=True)
class _Field:
    keys: tuple[int | str, ...]
    default: str | None


_Part: TypeAlias = "str | _Field | list[_Part]"


def compile_pattern(pattern: str, functions: Mapping[str, Function]) -> Expansion:
    """The function that makes a template's text by a pattern; it returns nothing where all fields are empty.

    Raises:
        ValueError: The pattern is not well formed, or names no function.
    """
    words, at, function = pattern.partition("@")
    if at:
        name, _, argument = function.partition(":")
        if name not in functions:
            raise ValueError(f"{pattern!r} names no function")
        return _prefixed(words, functions[name], argument)
    parts = _parts(pattern)
    if not any(isinstance(part, _Field | list) for part in parts):
        return lambda call: pattern
    if len(parts) == 1 and isinstance(only := parts[0], _Field) and only.default is None:
        keys = only.keys
        return lambda call: call.value(keys)
    optional = any(isinstance(part, _Field) and part.default is not None for part in parts)

    def expand(call: TemplateCall) -> str:
        text, found, _ = _filled(parts, call)
        return text if found or optional else ""

    return expand


def _prefixed(words: str, function: Function, argument: str) -> Expansion:
    def expand(call: TemplateCall) -> str:
        return words + function(call, argument)

    return expand


def _parts(pattern: str) -> list[_Part]:
    stack: list[list[_Part]] = [[]]
    for token in _TOKEN.finditer(pattern):
        if token[2] == "<":
            stack.append([])
        elif token[2] == ">":
            if len(stack) == 1:
                raise ValueError(f"{pattern!r} closes a part that is not open")
            inner = stack.pop()
            stack[-1].append(inner)
        elif token[3]:
            stack[-1].append(token[3])
        else:
            keys, colon, default = token[1].partition(":")
            numbered = tuple(int(key) if key.lstrip("-").isdigit() else key for key in keys.split("|"))
            stack[-1].append(_Field(numbered, default if colon else None))
    if len(stack) != 1:
        raise ValueError(f"{pattern!r} leaves a part open")
    return stack[0]


def _filled(parts: list[_Part], call: TemplateCall) -> tuple[str, bool, bool]:
    """The text of parts, whether any of their fields has a value, and whether all those directly in them have one."""
    text, found, whole = "", False, True
    for part in parts:
        if isinstance(part, str):
            text += part
        elif isinstance(part, _Field):
            value = call.value(part.keys)
            found, whole = found or bool(value), whole and (bool(value) or part.default is not None)
            text += value or part.default or ""
        else:
            inner, inside, complete = _filled(part, call)
            found = found or inside
            text += inner if complete else ""
    return text, found, whole
