"""One document, and one that was dropped with its reason."""

from dataclasses import dataclass

EMPTY = "empty"
"""Nothing but whitespace."""
BINARY = "binary"
"""Holds a NUL, or more than a tenth of it are control characters: no text."""
INVALID_UTF8 = "invalid_utf8"
"""Its bytes are not UTF-8."""
UNREADABLE = "unreadable"
"""The operating system refused to read it."""
DUPLICATE = "duplicate"
"""Its text is that of a document which was kept."""


@dataclass(frozen=True)
class Document:
    """A text and where it comes from."""

    source: str
    """The source's name in the recipe."""
    id: str
    """Unique in its source: a path relative to the source's root."""
    text: str
    origin: str
    """For people: what was read, with its version."""


@dataclass(frozen=True)
class Dropped:
    """A document that is not in the build."""

    source: str
    id: str
    reason: str
    """One of the constants of this module."""
    duplicate_of: str = ""
    """`source/id` of the document that was kept instead."""
