"""Figures of tasks that can be summed: nested tables of numbers."""

from collections.abc import Iterable
from typing import Any, TypeAlias

from puna.data.document import Document, Dropped, Lost

Counts: TypeAlias = dict[str, Any]
"""Tables within tables; every leaf is a number."""

READ, DEDUP = "read", "dedup"
"""Names of the first step, from a record to a document, and of the last one, which drops duplicates; the steps between
have the names of their rules."""
NOT_TOLD, NOT_STATED = "not told", "not stated"
"""Keys of the figures for documents without a language or year, and without a licence."""


def add_lost(counts: Counts, lost: Iterable[Lost], documents: int) -> None:
    """Add what a document or file has lost, by kind; `documents` is 1 for each kind of one document, else 0."""
    first: set[str] = set()
    for part in lost:
        row = counts.setdefault("lost", {}).setdefault(part.kind, {"documents": 0, "parts": 0, "bytes": 0})
        row["documents"] += documents if part.kind not in first else 0
        row["parts"] += part.parts
        row["bytes"] += part.bytes
        first.add(part.kind)


def add_text(counts: Counts, path: Iterable[str], size: int) -> None:
    """Add one document of `size` bytes to the table at `path`."""
    for table in path:
        counts = counts.setdefault(table, {})
    counts["documents"] = counts.get("documents", 0) + 1
    counts["bytes"] = counts.get("bytes", 0) + size


def add_verdict(counts: Counts, step: str, verdict: Document | Dropped) -> None:
    """Add a verdict to the figures of a step: documents and bytes that it keeps, and those that it drops."""
    text = verdict.text
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    path = ["steps", step, "kept"] if isinstance(verdict, Document) else ["steps", step, "dropped", verdict.reason]
    add_text(counts, path, size)


def total(parts: Iterable[Counts]) -> Counts:
    """The sum of tables, leaf by leaf, in the order in which keys first appear."""
    result: Counts = {}
    for part in parts:
        _add_all(result, part)
    return result


def _add_all(result: Counts, part: Counts) -> None:
    for key, value in part.items():
        if isinstance(value, dict):
            _add_all(result.setdefault(key, {}), value)
        else:
            result[key] = result.get(key, 0) + value
