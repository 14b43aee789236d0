"""Documents, dropped documents with their reasons, and the protocols of readers and rules."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from puna.data.input_file import InputFile

EMPTY = "empty"
"""Nothing but whitespace."""
BINARY = "binary"
"""Holds a NUL, or more than a tenth of it are control characters, so it is not text."""
INVALID_UTF8 = "invalid_utf8"
"""Its bytes are not UTF-8."""
UNREADABLE = "unreadable"
"""The operating system refused to read it, or the rest of its file is damaged."""
TOO_LARGE = "too_large"
"""Larger than `data.max_document_bytes`."""
DUPLICATE = "duplicate"
"""Its text equals that of a document that was kept."""
NO_RECORD = "no_record"
"""Of a file: it holds nothing that its format calls a record."""
NEAR = "near_duplicate"
"""It nearly equals a document that was kept."""
CONTAINED = "contained"
"""A document that was kept holds most of it."""
READER_FAILED = "reader.failed"
"""The reader met a record that it cannot handle; `detail` has the error."""
RULE_FAILED = "rule.failed"
"""The same for a rule and a document."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Something of a document or a file that is not in the text, though the document stays or there never was one."""

    kind: str
    """`<reader>.<kind>` or `<rule>.<kind>`, explained as reasons are."""
    parts: int = 1
    """How many there are: sentences, figures, documents inside a paper, bytes that nothing could be made of."""
    bytes: int = 0
    """Their size, where finding it is cheap; 0 where nobody knows."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text and where it comes from."""

    source: str
    """The source's name in the recipe."""
    id: str
    """Unique in its source: a path relative to the source's root, if needed with the place or name in the file."""
    text: str
    origin: str
    """What was read, with its version, for people."""
    url: str = ""
    licence: str = ""
    """Licence as the document itself states it; empty if it does not."""
    date: str = ""
    """ISO 8601: when it was written or fetched."""
    language: str = ""
    """A code such as `en`; empty until it is known."""
    scores: dict[str, float] = field(default_factory=dict)
    """Measurements of rules for the card or for later rules: `language`, `perplexity`, …"""
    licence_from: str = ""
    """Where code says its licence: the words of its notice, or the names of licence files; empty if it is not known."""
    turns: str = ""
    """Of an example of instruction tuning: its turns, as `puna.chat.example.Example.json` writes them; `text` is then
    what is said in them (`Example.text`), and no step changes one without the other. Empty for all other text."""
    lost: tuple[Lost, ...] = ()
    """What the reader or rule that returns it has left out; it is counted and then forgotten, and no file holds it."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A document that is not in the build."""

    source: str
    id: str
    reason: str
    """A constant of this module or `<rule>.<reason>`, explained in `puna.data.reasons`."""
    detail: str = ""
    """The measurement, or `source/id` of the document that was kept instead."""
    text: str = ""
    """Its text when it was dropped, as far as it was read."""


@dataclass(frozen=True, slots=True)
class Raw:
    """A record as a reader finds it in a file, before any costly work, so that finding it again is cheap."""

    id: str
    content: bytes
    fields: dict[str, str] = field(default_factory=dict)
    """Other values that the reader needs to make the document: `url`, `date`, …"""


class Reader(Protocol):
    """Reads documents from files of one format in two steps, so that a build can resume in the middle of a file."""

    def records(self, file: InputFile) -> Iterator[Raw | Dropped | Lost]:
        """The records of a file and what was lost between them, in an order that only the file decides, cheaply."""
        ...

    def document(self, raw: Raw) -> Document | Dropped:
        """The document of a record: the costly part."""
        ...


class Rule(Protocol):
    """One rule set: looks at a document, changes it or drops it."""

    def __call__(self, document: Document) -> Document | Dropped:
        """The document, changed or not; or the reason to drop it."""
        ...
