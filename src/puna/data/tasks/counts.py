"""Figures of tasks that add up: nested tables whose leaves are numbers."""

from collections.abc import Iterable
from typing import Any, TypeAlias

Counts: TypeAlias = dict[str, Any]
"""Tables within tables; every leaf is a number."""


def add(counts: Counts, path: Iterable[str], amount: int) -> None:
    """Add to the leaf at `path`, making it and the tables above it where they are missing."""
    *tables, leaf = path
    for table in tables:
        counts = counts.setdefault(table, {})
    counts[leaf] = counts.get(leaf, 0) + amount


def add_text(counts: Counts, path: Iterable[str], size: int) -> None:
    """Add one document of `size` bytes to the table at `path`."""
    for table in path:
        counts = counts.setdefault(table, {})
    counts["documents"] = counts.get("documents", 0) + 1
    counts["bytes"] = counts.get("bytes", 0) + size


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
