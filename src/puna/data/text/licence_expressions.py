"""SPDX expressions (SPDX specification, annex D): putting them together, and what fulfils them."""

import re
from collections.abc import Iterable

_OPERATOR = re.compile(r"([()]|(?<![^\s)])(?:and|or)(?![^\s(]))")
_LISTED = ((re.compile(r"\s*[,;&]\s*"), " and "), (re.compile(r"\s*/\s*|\s*\|+\s*"), " or "))
"""Lists in columns of data sets; `MIT/Apache-2.0` is Cargo's older form of a choice."""
_TAKES_AWAY = re.compile(r"[ ]with[ ].*(?:commons|commercial)")
"""A condition after `WITH` that is not an exception."""


def all_of(expressions: Iterable[str]) -> str:
    """One expression that demands all of them; each is named once."""
    parts = list(dict.fromkeys(expressions))
    if len(parts) > 1:
        parts = [f"({part})" if " OR " in part and not _is_grouped(part) else part for part in parts]
    return " AND ".join(parts)


def _is_grouped(expression: str) -> bool:
    """Whether one pair of brackets holds all of an expression."""
    depth = 0
    for position, character in enumerate(expression):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return position == len(expression) - 1 and expression.startswith("(")
    return False


def is_permitted(licence: str, prefixes: list[str]) -> bool:
    """Whether an SPDX expression can be fulfilled by licences with these beginnings of identifiers, in lower case.

    `A OR B` needs one of both, `A AND B` both and binds more closely, brackets group; an exception after `WITH` takes
    nothing away. A comma is an AND, a slash an OR. Anything else than such an expression cannot be fulfilled.
    """
    beginnings = tuple(prefixes)
    outer: list[tuple[bool, bool]] = []
    earlier, so_far, is_due = False, True, True
    """Whether an earlier alternative can be fulfilled; whether this one can so far; whether a licence must follow."""
    expression = licence.lower()
    for pattern, operator in _LISTED:
        expression = pattern.sub(operator, expression)
    for part in filter(None, map(str.strip, _OPERATOR.split(expression))):
        if is_due != (part not in (")", "and", "or")):
            return False
        if part == "(":
            outer.append((earlier, so_far))
            earlier, so_far = False, True
        elif part == ")":
            if not outer:
                return False
            inner = earlier or so_far
            earlier, so_far = outer.pop()
            so_far = so_far and inner
        elif part in ("and", "or"):
            is_due = True
            if part == "or":
                earlier, so_far = earlier or so_far, True
        else:
            is_due = False
            so_far = so_far and part.startswith(beginnings) and not _TAKES_AWAY.search(part)
    return not outer and not is_due and (earlier or so_far)
