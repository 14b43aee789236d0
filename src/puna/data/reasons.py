"""A sentence for every reason to drop a document."""

from importlib import import_module

from puna.data.document import (
    BINARY,
    CONTAINED,
    DUPLICATE,
    EMPTY,
    INVALID_UTF8,
    NEAR,
    READER_FAILED,
    RULE_FAILED,
    TOO_LARGE,
    UNREADABLE,
)  # fmt: skip

UNKNOWN = "This version of Puna does not know the reason."

_COMMON = {
    EMPTY: "It has no text: nothing is left but whitespace.",
    BINARY: "It is not text: it holds a NUL, or more than a tenth of it are control characters.",
    INVALID_UTF8: "Its bytes are not text in their encoding, which is UTF-8 where no other one is named.",
    UNREADABLE: "It could not be read, or what follows in its file is damaged.",
    TOO_LARGE: "It is larger than data.max_document_bytes.",
    DUPLICATE: "Its text equals that of a document which was kept.",
    NEAR: "Its text nearly equals that of a document which was kept, as estimated by MinHash (Broder 1997).",
    CONTAINED: "A document which was kept holds most of it (LLaMA, section 2.1: more than 90 % content overlap).",
    READER_FAILED: "The reader met something in the record that it cannot handle, which is a defect of the reader.",
    RULE_FAILED: "A rule met something in the document that it cannot handle, which is a defect of the rule.",
}
"""Reasons that do not belong to a single format or rule."""

_MODULES = {
    "archive": ("puna.data.input.streams",),
    "arxiv": ("puna.data.readers.arxiv",),
    "gutenberg": ("puna.data.readers.gutenberg",),
    "rows": ("puna.data.readers.rows",),
    "stackexchange": ("puna.data.readers.stackexchange",),
    "warc": ("puna.data.readers.warc",),
    "wikipedia": ("puna.data.readers.wikipedia",),
    "lines": ("puna.data.rules.lines",),
    "language": ("puna.data.rules.language",),
    "perplexity": ("puna.data.rules.perplexity",),
    "wikipedia-like": ("puna.data.rules.wikipedia_like",),
    "gopher-quality": ("puna.data.rules.gopher_quality",),
    "gopher-repetition": ("puna.data.rules.gopher_repetition",),
    "c4": ("puna.data.rules.c4",),
    "code": ("puna.data.rules.code", "puna.data.readers.code"),
    "decontaminate": ("puna.data.rules.decontaminate",),
}
"""Modules with a table `REASONS`, by the part of a reason before its dot. A module is imported when it is needed,
because some import libraries that take a second to load."""


def explain(reason: str) -> str:
    """The sentence for a reason; `UNKNOWN` where none is known."""
    if reason in _COMMON:
        return _COMMON[reason]
    for module in _MODULES.get(reason.partition(".")[0], ()):
        if sentence := import_module(module).REASONS.get(reason):
            return sentence
    return UNKNOWN
