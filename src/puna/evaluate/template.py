"""Texts with fields of a row in braces: `Question: {question}`, `{choices.text.0}`; `{{` and `}}` are braces.

Only fields are looked up; nothing in a template is run.
"""

import re
from typing import Any

from puna.core.errors import EvaluateError
from puna.evaluate.example import Row

_PART = re.compile(r"\{\{|\}\}|\{(?P<field>[^{}]*)\}|[{}]")
_FIELD = re.compile(r"\w[\w -]*(?:\.\w[\w -]*)*")


class Template:
    """A text with fields.

    Args:
        text: The template.

    Raises:
        EvaluateError: A brace stands alone, or what is in braces is not the name of a field.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        for match in _PART.finditer(text):
            if match[0] in "{}" or (match["field"] is not None and not _FIELD.fullmatch(match["field"])):
                raise EvaluateError(
                    f"{text!r}: {match[0]!r} is not a field", hint="a field is {name} or {name.inner}; a brace is {{"
                )

    def fill(self, row: Row) -> str:
        """The text with the fields of a row.

        Raises:
            KeyError: The row has no such field.
            TypeError: The field is not a text or a number.
        """

        def replaced(match: re.Match[str]) -> str:
            return match[0][0] if match["field"] is None else _text(match["field"], value_of(row, match["field"]))

        return _PART.sub(replaced, self.text)


def value_of(row: Row, field: str) -> Any:
    """The value of a field; behind a dot follows a field inside of it, or a place in a list from 0.

    Raises:
        KeyError: There is none.
    """
    value: Any = row
    for name in field.split("."):
        try:
            value = value[int(name)] if isinstance(value, list) else value[name]
        except (KeyError, IndexError, TypeError, ValueError):
            raise KeyError(field) from None
    return value


def _text(field: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError(f"field {field!r} is {value!r:.60}, expected a text or a number")
    return str(value)
