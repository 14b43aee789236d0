"""What the tokenizer of a build has learned from: bytes by source, beside what the mixture's shares would be."""

from typing import Any

from puna.core.layout import DataDir
from puna.core.records import read_record
from puna.core.units import format_bytes
from puna.data.card.blocks import Block, Table, percent
from puna.data.training_text import SHORT


def learned_from(out: DataDir) -> dict[str, dict[str, int]]:
    """Bytes that are wanted, available and taken, by source, as the tokenizer's record has them."""
    record = read_record(out.tokenizer / "record.json")
    return record["results"]["sources"] if record else {}


def learned_warnings(card: dict[str, Any]) -> list[str]:
    """A sentence for each source of which the tokenizer has seen less than its share."""
    return [
        f"The tokenizer has learned from all {format_bytes(portion['taken'])} of {name}, of "
        f"{format_bytes(portion['wanted'])} that its share of the mixture would be; other sources have filled up."
        for name, portion in (card["tokenizer"] or {"text": {}})["text"].items()
        if portion["taken"] < SHORT * portion["wanted"]
    ]


def learned_blocks(card: dict[str, Any]) -> list[Block]:
    """The table of the card's pages, and what it means."""
    if not (text := card["tokenizer"]["text"]):
        return ["It was taken as it was: it has learned nothing from these documents."]
    whole = max(sum(portion["taken"] for portion in text.values()), 1)
    wanted = max(sum(portion["wanted"] for portion in text.values()), 1)
    rows = [
        [
            name, percent(portion["wanted"] / wanted), format_bytes(portion["wanted"]),
            format_bytes(portion["available"]), format_bytes(portion["taken"]), percent(portion["taken"] / whole),
        ]
        for name, portion in text.items()
    ]  # fmt: skip
    return [
        Table(
            "The text that the tokenizer has learned from",
            ["source", "share wanted", "wanted", "available", "taken", "share taken"], 1, rows,
        ),
        "A source that has less than its share gives all it has, and the others fill up. Pieces are drawn evenly from "
        "all training documents of a source; held-out documents are not among them.",
    ]  # fmt: skip
