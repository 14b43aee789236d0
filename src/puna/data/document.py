"""One document, one that was dropped with its reason, and what readers and rules are."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from puna.data.input_file import InputFile

EMPTY = "empty"
"""Nothing but whitespace."""
BINARY = "binary"
"""Holds a NUL, or more than a tenth of it are control characters: no text."""
INVALID_UTF8 = "invalid_utf8"
"""Its bytes are not UTF-8."""
UNREADABLE = "unreadable"
"""The operating system refused to read it, or what follows in its file is damaged."""
TOO_LARGE = "too_large"
"""Larger than `data.max_document_bytes`."""
DUPLICATE = "duplicate"
"""Its text is that of a document which was kept."""
NEAR = "near_duplicate"
"""It nearly equals a document which was kept."""
CONTAINED = "contained"
"""A document which was kept holds most of it."""
READER_FAILED = "reader.failed"
"""The reader met something in the record that it does not know how to handle; `detail` has its error."""
RULE_FAILED = "rule.failed"
"""The same of a rule and a document."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text and where it comes from."""

    source: str
    """The source's name in the recipe."""
    id: str
    """Unique in its source: a path relative to the source's root, or that with the place or name in the file."""
    text: str
    origin: str
    """For people: what was read, with its version."""
    url: str = ""
    licence: str = ""
    """As the document itself says it; empty where it does not."""
    date: str = ""
    """ISO 8601: when it was written or fetched."""
    language: str = ""
    """A code such as `en`, once something has told."""
    scores: dict[str, float] = field(default_factory=dict)
    """What rules have measured and kept for the card or for later: `language`, `perplexity`, …"""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A document that is not in the build."""

    source: str
    id: str
    reason: str
    """A constant of this module or `<rule>.<reason>`, explained in `puna.data.reasons`."""
    detail: str = ""
    """What was measured, or `source/id` of the document that was kept instead."""
    text: str = ""
    """What had been read of it, as it was when it was dropped."""


@dataclass(frozen=True, slots=True)
class Raw:
    """What a reader finds in a file before any work is done on it, so that finding it again is cheap."""

    id: str
    content: bytes
    fields: dict[str, str] = field(default_factory=dict)
    """What else the reader needs to make the document: `url`, `date`, …"""


class Reader(Protocol):
    """From files of one format to documents, in two steps, so that a build resumes in the middle of a file."""

    def records(self, file: InputFile) -> Iterator[Raw | Dropped]:
        """The records of a file, in an order that only the file decides, streaming and cheap."""
        ...

    def document(self, raw: Raw) -> Document | Dropped:
        """The document of a record: the costly part."""
        ...


class Rule(Protocol):
    """One rule set: looks at a document, changes it or drops it."""

    def __call__(self, document: Document) -> Document | Dropped:
        """The document as it goes on, or why it does not."""
        ...
