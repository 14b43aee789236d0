"""The parts of a card's pages, and how its figures are written.

Paragraphs, points and `Sentence`s are Puna's own, with `code` between backticks. Other cells may hold any text from a
source or a recipe.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

from puna.core.units import format_bytes

_LONG_CELL = 60
"""Characters of a cell that fill several lines of a phone."""


class Code(str):
    """A cell that is a name in a file or a recipe."""

    __slots__ = ()


class Sentence(str):
    """A cell that Puna has written itself, with `code` between backticks."""

    __slots__ = ()


@dataclass(frozen=True)
class Table:
    """A table: columns of text, then columns of figures."""

    caption: str
    header: list[str]
    labels: int
    """How many columns are text."""
    rows: list[list[str]]

    @property
    def has_sentences(self) -> bool:
        """Whether a cell is a sentence or a long value, so that a phone shows rows one below the other."""
        return any(isinstance(cell, Sentence) or len(cell) > _LONG_CELL for row in self.rows for cell in row[1:])


@dataclass(frozen=True)
class Step:
    """A step of a flow; the parts that it keeps and drops are shares of all records."""

    name: Code
    what: str
    left: float
    lost: float
    figures: list[str]


@dataclass(frozen=True)
class Flow:
    """How many documents of a source are left after each step."""

    caption: str
    header: list[str]
    """Unit of the steps' figures."""
    steps: list[Step]


@dataclass(frozen=True)
class Points:
    """A list of sentences."""

    sentences: list[str]


Block: TypeAlias = str | Table | Flow | Points


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    name: str
    """Name of the section in links."""
    title: str
    blocks: list[Block]


def percent(share: float) -> str:
    """A share as `12.5 %`."""
    return f"{100 * share:.1f} %"


def size(count: int) -> str:
    """A number of bytes for people; empty for 0."""
    return format_bytes(count) if count else ""


def change(count: int) -> str:
    """Bytes that a step added to documents that stay, or removed from them: `-1.2 KiB`."""
    return f"{'-' if count < 0 else '+'}{format_bytes(abs(count))}" if count else ""


def value(threshold: Any) -> str:
    """A threshold of a recipe."""
    match threshold:
        case bool():
            return "yes" if threshold else "no"
        case dict():
            return ", ".join(f"{key}: {part}" for key, part in threshold.items()) or "none"
        case list():
            return ", ".join(map(str, threshold)) or "none"
        case int() | float():
            return f"{threshold:,}"
        case _:
            return str(threshold) or "none"
