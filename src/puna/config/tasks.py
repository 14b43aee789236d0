"""Templates of tasks in a recipe: how a row becomes an input and a target (Longpre et al. 2023, section 2)."""

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from puna.config.section import ConflictError, Section

_PART = re.compile(r"\{\{|\}\}|\{(?P<field>\w+)\}|[{}]")
OPTIONS = "options"
"""The field of the answers to choose from."""


def fields_of(text: str) -> Iterator[str]:
    """The names of the fields in a text, which stand in braces; `{{` and `}}` are braces.

    Raises:
        ValueError: A brace stands alone.
    """
    for match in _PART.finditer(text):
        if match["field"] is not None:
            yield match["field"]
        elif match[0] in "{}":
            raise ValueError(f"{match[0]!r} stands alone in {text!r:.80}; a field is {{name}}, a brace is {{{{")


def filled(text: str, values: dict[str, str]) -> str:
    """The text with the values of its fields.

    Raises:
        KeyError: There is no such value.
    """
    return _PART.sub(lambda match: match[0][0] if match["field"] is None else values[match["field"]], text)


def _with_fields(text: str) -> str:
    list(fields_of(text))
    return text


Text = Annotated[str, Field(min_length=1), AfterValidator(_with_fields)]
"""A text with fields of a row in braces, such as `Question: {question}`."""


class Pattern(Section):
    """One way to write a row."""

    input: Text
    """What the model is given. With {options} the answers to choose from are listed: the row's column `options`."""
    target: Text = "{answer}"
    """What it learns to answer, such as {answer}, or "{chain_of_thought} So the answer is {answer}."."""
    separator: str = "\n\n\n"
    """few_shot: the text after each exemplar (Flan's default)."""


class TaskTemplates(Section):
    """The patterns of one task. Each row is written by one of them, drawn from the row's id.

    What applies to the row of zero-shot and few-shot, with and without {options}, has equal parts, as in the Flan
    Collection (flan/v2/run_example.py). A pattern applies to the rows that have a value for each of its fields.
    """

    zero_shot: list[Pattern] = Field(default=[])
    """The input without other rows."""
    few_shot: list[Pattern] = Field(default=[])
    """The input after other rows of the task with their targets, all by the same pattern: as many as of 25 rows draw
    this one of the patterns, one at least (flan/v2/tasks.py)."""
    inverted: list[Pattern] = Field(default=[])
    """Patterns that ask for the question, or for the reasoning, from the answer: 0.3 rows for each other one
    (flan/v2/mixtures.py)."""
    option_styles: list[str] = Field(default=["- "], min_length=1)
    """The mark before each answer to choose from; an `A`, `a` or `1` in it counts them, and then the mark is the answer
    too, as in "(A) "."""

    @model_validator(mode="after")
    def _consistent(self) -> "TaskTemplates":
        if not (self.zero_shot or self.few_shot or self.inverted):
            names = ["zero_shot", "few_shot", "inverted"]
            raise ConflictError([("a task needs a pattern in zero_shot, few_shot or inverted", names)])
        return self
