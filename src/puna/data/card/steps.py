"""The figures of a source, summed over a build's tasks, in the order of a card."""

import re
from typing import Any

from puna.config.data import Source
from puna.config.rules import DedupConfig
from puna.data.document import CONTAINED, DUPLICATE, NEAR
from puna.data.tasks.counts import DEDUP, READ, Counts, total

_NAMES = 100
"""How many languages or licences a card names; documents may have any number of them."""
_YEAR = re.compile(r"[0-9]{4}")


def steps_of(source: Source, counts: Counts) -> list[dict[str, Any]]:
    """Every step in order: documents and bytes that came in, went on, and were dropped by reason.

    Bytes are of UTF-8 text. Bytes that neither go on nor are dropped were cut from documents that stay. The first step
    turns records into texts, so its bytes in equal its bytes out.
    """
    steps = []
    before: int | None = None
    for name in [READ, *source.clean, DEDUP]:
        figures = counts.get("steps", {}).get(name, {})
        kept = {"documents": 0, "bytes": 0} | figures.get("kept", {})
        dropped = _by_documents(figures.get("dropped", {}))
        lost = total([{"documents": 0, "bytes": 0}, *dropped.values()])
        came = {"documents": kept["documents"] + lost["documents"]}
        came["bytes"] = kept["bytes"] + lost["bytes"] if before is None else before
        steps.append({"step": name, "in": came, "out": kept, "lost": lost, "dropped": dropped})
        before = kept["bytes"]
    return steps


def dropped_documents(counts: Counts) -> dict[str, int]:
    """Documents that were dropped for each reason over all steps, most first."""
    reasons = total(step.get("dropped", {}) for step in counts.get("steps", {}).values())
    return {reason: figures["documents"] for reason, figures in _by_documents(reasons).items()}


def duplicates(name: str, dedup: DedupConfig, counts: Counts) -> dict[str, Counts | None]:
    """Documents that went because another one stays, by kind; None for a kind that was not looked for."""
    looked_for = {
        DUPLICATE: dedup.exact != "none",
        NEAR: name in dedup.near.sources,
        CONTAINED: name in dedup.contained.sources,
    }
    dropped = counts.get("steps", {}).get(DEDUP, {}).get("dropped", {})
    nothing = {"documents": 0, "bytes": 0}
    return {kind: nothing | dropped.get(kind, {}) if wanted else None for kind, wanted in looked_for.items()}


def largest(figures: Counts, unknown: str) -> dict[str, Any]:
    """Documents and bytes of the most frequent names, of all others together, and of documents without one."""
    named = _by_documents({name: counts for name, counts in figures.items() if name != unknown})
    shown = dict(list(named.items())[:_NAMES])
    others = [counts for name, counts in named.items() if name not in shown]
    nothing = {"documents": 0, "bytes": 0}
    return {
        "named": shown,
        "others": {"names": len(others)} | total([nothing, *others]),
        "unknown": nothing | figures.get(unknown, {}),
    }


def years(figures: Counts) -> dict[str, Any]:
    """Documents and bytes by year, in order, and of documents without one."""
    told = {year: figures[year] for year in sorted(figures) if _YEAR.fullmatch(year)}
    nothing = {"documents": 0, "bytes": 0}
    return {"named": told, "unknown": total([nothing, *(figures[year] for year in figures if year not in told)])}


def _by_documents(figures: Counts) -> Counts:
    """The tables with most documents first; names decide between equal ones."""
    return dict(sorted(figures.items(), key=lambda item: (-item[1]["documents"], item[0])))
