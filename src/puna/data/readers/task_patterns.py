"""Writes a row of a task by one of its patterns, which is drawn from the row's id (Longpre et al. 2023, section 2)."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from puna.config.tasks import OPTIONS, Pattern, TaskTemplates, fields_of, filled
from puna.data.text.decode import turn_text

_INVERSION = 0.3 / 1.3
"""Share of inverted patterns where there are others: 0.3 for each other one (flan/v2/mixtures.py)."""
_CANDIDATES = 25
"""Rows that may become exemplars of another one (flan/v2/tasks.py)."""
_MOST_CHARACTERS = 4 * 1920
"""Characters of a few-shot input at most: 1,920 tokens (flan/v2/constants.py) of four characters."""
_HEADING = "OPTIONS:"
_COUNTED = "Aa1"

Row = Mapping[str, Any]
"""The columns of a row."""


@dataclass(frozen=True)
class Choice:
    """How a row is written."""

    pattern: Pattern
    style: str
    """The mark before each answer to choose from."""
    few_shot: bool
    draws: random.Random
    """For what is drawn after the pattern."""


def choose(templates: TaskTemplates, row: Row, key: str) -> Choice | None:
    """How a row is written, a function of the key; None if no pattern applies to it.

    Args:
        templates: Those of the row's task.
        row: Its columns.
        key: The row's source and id.
    """
    draws = random.Random(int.from_bytes(sha256(key.encode(errors="replace")).digest()[:8], "big"))  # noqa: S311 - nothing secret
    groups: dict[tuple[bool, bool], list[Pattern]] = {}
    for few_shot, patterns in ((False, templates.zero_shot), (True, templates.few_shot)):
        for pattern in patterns:
            if applies(pattern, row):
                groups.setdefault((few_shot, OPTIONS in fields_of(pattern.input)), []).append(pattern)
    inverted = [pattern for pattern in templates.inverted if applies(pattern, row)]
    inverts, place, which, style = (draws.random() for _ in range(4))
    if inverted and (not groups or inverts < _INVERSION):
        few_shot, patterns = False, inverted
    elif groups:
        (few_shot, _), patterns = [*groups.items()][int(place * len(groups))]
    else:
        return None
    pattern = patterns[int(which * len(patterns))]
    return Choice(pattern, templates.option_styles[int(style * len(templates.option_styles))], few_shot, draws)


def applies(pattern: Pattern, row: Row) -> bool:
    """Whether a row has a value for each field of a pattern."""
    values = _plain(row)
    return all(
        bool(_options(row)) if field == OPTIONS else field in values
        for text in (pattern.input, pattern.target)
        for field in fields_of(text)
    )


def write(choice: Choice, row: Row) -> tuple[str, str]:
    """Input and target of a row by itself."""
    values = _values(row, choice.style, OPTIONS in fields_of(choice.pattern.input))
    return filled(choice.pattern.input, values), filled(choice.pattern.target, values)


def exemplars(choice: Choice, templates: TaskTemplates, row: Row, pool: Sequence[Row]) -> list[Row]:
    """The rows of a pool that stand before a row, in their order.

    Args:
        choice: How the row is written.
        templates: Those of its task: with more patterns there are fewer exemplars.
        row: The row.
        pool: Other rows of the task.
    """
    left = [other for other in pool if other != row and applies(choice.pattern, other)]
    candidates = []
    while left and len(candidates) < _CANDIDATES:
        candidates.append(left.pop(int(choice.draws.random() * len(left))))
    patterns = len(templates.few_shot)
    kept = [other for other in candidates if int(choice.draws.random() * patterns) == 0] or candidates[:1]
    size, found = len(write(choice, row)[0]), []
    for other in kept:
        size += sum(map(len, write(choice, other))) + len(choice.pattern.separator)
        if size > _MOST_CHARACTERS:
            break
        found.append(other)
    return found


def write_after(choice: Choice, row: Row, shots: Sequence[Row]) -> tuple[str, str]:
    """Input and target of a row after others, each with its target and the separator; the input ends in no space."""
    before = [part + choice.pattern.separator for part in ("".join(write(choice, shot)) for shot in shots)]
    asked, target = write(choice, row)
    return ("".join(before) + asked).rstrip(" "), target.strip()


def without_shots(choice: Choice, templates: TaskTemplates, row: Row) -> Choice:
    """How a row is written that nothing can stand before: with a pattern for a row by itself, if one applies."""
    patterns = [pattern for pattern in templates.zero_shot if applies(pattern, row)]
    pattern = patterns[int(choice.draws.random() * len(patterns))] if patterns else choice.pattern
    return replace(choice, pattern=pattern, few_shot=False)


def _values(row: Row, style: str, lists_options: bool) -> dict[str, str]:
    """The fields of a row as text; where the options are counted, the answer is the mark of its option."""
    values, options = _plain(row), _options(row)
    marks = [_mark(style, number) for number in range(len(options))]
    values[OPTIONS] = _HEADING + "".join(f"\n{mark}{option}" for mark, option in zip(marks, options, strict=True))
    if lists_options and len(set(marks)) == len(marks) > 1:
        said = [option.strip() for option in options]
        answer = values.get("answer", "").strip()
        if answer in said:
            values["answer"] = marks[said.index(answer)].strip()
    return values


def _mark(style: str, number: int) -> str:
    """The mark of an option: `(B) ` for number 1 in the style `(A) `."""
    counted = next((character for character in style if character in _COUNTED), "")
    if not counted:
        return style
    name = str(number + 1) if counted == "1" else chr(ord(counted) + number)
    return style.replace(counted, name, 1)


def _plain(row: Row) -> dict[str, str]:
    """The columns that have a number, or a text that says something."""
    found = {name: value for name, value in row.items() if isinstance(value, str | int | float)}
    texts = {name: turn_text(str(value)) for name, value in found.items() if not isinstance(value, bool)}
    return {name: text for name, text in texts.items() if text.strip()}


def _options(row: Row) -> list[str]:
    """The answers to choose from; none where there are more than letters, or other things than texts and numbers."""
    options = row.get(OPTIONS)
    if not isinstance(options, list) or not 0 < len(options) <= 26:
        return []
    if any(isinstance(option, bool) or not isinstance(option, str | int | float) for option in options):
        return []
    return [turn_text(str(option)) for option in options]
