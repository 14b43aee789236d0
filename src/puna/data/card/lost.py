"""What a source has lost on the way without anybody choosing it: files, records, and parts of documents that stay."""

from collections.abc import Iterator
from typing import Any

from puna.config.data import Source
from puna.data.card.blocks import Block, Code, Sentence, Table, percent, size
from puna.data.document import RULE_FAILED
from puna.data.reasons import is_damage
from puna.data.table import find_reader
from puna.data.tasks.counts import READ, Counts, total
from puna.data.tasks.file_tally import no_files

_FILES = 20
"""How many files of a source a page names; `card.json` names more."""
_SHORT = 5
"""How many a sentence names."""
_OUTCOMES = {"nothing": "gave no document", "broken": "could be read only in part"}


def lost_of(source: Source, counts: Counts) -> dict[str, Any]:
    """The figures of a source: damaged records, parts by kind, files."""
    spec = find_reader(source.format)
    damaged = [
        figures
        for step, verdicts in counts.get("steps", {}).items()
        for reason, figures in verdicts.get("dropped", {}).items()
        if reason == RULE_FAILED or (step == READ and is_damage(spec, reason))
    ]
    return {
        "damaged": total([{"documents": 0, "bytes": 0}, *damaged]),
        "parts": counts.get("lost", {}),
        "files": counts.get("files", no_files()),
    }


def kinds_lost(lost: dict[str, Any]) -> set[str]:
    """Every name in the figures of a source that needs a sentence."""
    files = lost["files"]
    reasons = {name for kind in _OUTCOMES for file in files[kind]["named"].values() for name in file}
    return {*lost["parts"], *reasons, *(name for kind in _OUTCOMES for name in files[kind]["reasons"])}


def lost_warnings(card: dict[str, Any]) -> list[str]:
    """Sentences on files that gave nothing or broke off, and on sources that lost more than `data.most_lost`."""
    found = []
    for source in card["sources"]:
        files = source["lost"]["files"]
        found += [
            f"{source['name']}: {_count(files[kind])} of {files['read']:,} files {_OUTCOMES[kind]} "
            f"({_by_reason(files[kind]['reasons'])}): {_names(files[kind], _SHORT)}."
            for kind in _OUTCOMES
            if files[kind]["reasons"]
        ]
        most = card["build"]["most_lost"]
        shares = [f"{percent(share)} of its {what}" for share, what in _shares(source) if share > most]
        if shares:
            found.append(
                f"{source['name']} has lost {', '.join(shares)} without anybody choosing it, more than "
                f"data.most_lost allows ({percent(most)}): see Lost on the way."
            )
    return found


def lost_blocks(card: dict[str, Any]) -> list[Block]:
    """The section of the card's pages."""
    rows = [_row(source) for source in card["sources"]]
    header = ["source", "files", "stored", "records", "could not be read", "dropped by rules and reader", "documents"]
    blocks: list[Block] = [
        Table("From files to documents", [*header, "records kept", "text kept"], 1, rows),
        "A record that could not be read is damaged, of another format, or too large; all others that are missing were "
        "dropped for a reason above. Text kept is of the text that the reader has found.",
    ]
    parts = [
        [
            source["name"], Code(kind), Sentence(card["reasons"].get(kind, "")),
            f"{figures['documents']:,}" if figures["documents"] else "", f"{figures['parts']:,}",
            size(figures["bytes"]),
        ]
        for source in card["sources"]
        for kind, figures in source["lost"]["parts"].items()
    ]  # fmt: skip
    blocks.append(
        Table("What is missing in documents", ["source", "kind", "meaning", "documents", "parts", "text"], 3, parts)
        if parts
        else "No reader or rule has told of anything missing in a document that stays."
    )
    named = [row for source in card["sources"] for row in _files(source)]
    blocks.append(
        Table("Files that gave nothing or broke off", ["source", "file", "what", "why"], 4, named)
        if named
        else "Every file gave documents, and no file broke off."
    )
    return blocks


def _row(source: dict[str, Any]) -> list[str]:
    lost, came = source["lost"], source["steps"][0]["in"]
    left = {key: sum(split[key] for split in source["splits"].values()) for key in ("documents", "bytes")}
    damaged = lost["damaged"]["documents"]
    return [
        source["name"], f"{lost['files']['read']:,}", size(lost["files"]["bytes"]), f"{came['documents']:,}",
        f"{damaged:,}", f"{max(came['documents'] - damaged - left['documents'], 0):,}", f"{left['documents']:,}",
        percent(left["documents"] / max(came["documents"], 1)), percent(left["bytes"] / max(came["bytes"], 1)),
    ]  # fmt: skip


def _shares(source: dict[str, Any]) -> Iterator[tuple[float, str]]:
    """Each share that is lost, and of what.

    A part counts by its bytes: half of a corpus may have lost a word each, which is nothing. Where no reader knows how
    much a part had, as with a page that was cut off, it may be most of the document, which then counts as a whole.
    """
    lost, first = source["lost"], source["steps"][0]
    files, records, read = lost["files"], first["in"]["documents"], first["out"]
    yield (_count(files["nothing"]) + _count(files["broken"])) / max(files["read"], 1), "files"
    yield lost["damaged"]["documents"] / max(records, 1), "records"
    cut = sum(figures["bytes"] for figures in lost["parts"].values())
    yield cut / max(read["bytes"] + cut, 1), "text"
    for kind, figures in lost["parts"].items():
        if not figures["bytes"]:
            yield figures["documents"] / max(read["documents"], 1), f"documents a part of unknown size (`{kind}`)"


def _count(outcome: dict[str, Any]) -> int:
    return sum(outcome["reasons"].values())


def _by_reason(reasons: dict[str, int]) -> str:
    return ", ".join(f"`{reason}` {count:,}" for reason, count in sorted(reasons.items()))


def _names(outcome: dict[str, Any], most: int) -> str:
    names = list(outcome["named"])[:most]
    more = _count(outcome) - len(names)
    return ", ".join(map(_quoted, names)) + (f" and {more:,} more" if more else "")


def _quoted(name: str) -> str:
    """A file's name as code in a sentence, whatever is in it."""
    return "`" + "".join(char if char.isprintable() and char != "`" else "\ufffd" for char in name) + "`"


def _files(source: dict[str, Any]) -> Iterator[list[str]]:
    for kind, what in _OUTCOMES.items():
        outcome = source["lost"]["files"][kind]
        for name, reasons in list(outcome["named"].items())[:_FILES]:
            yield [source["name"], name, what, Sentence(_by_reason(reasons))]
        if (more := _count(outcome) - _FILES) > 0:
            yield [source["name"], f"{more:,} more", what, Sentence(_by_reason(outcome["reasons"]))]
