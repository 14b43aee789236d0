"""`card.md`: the card for people who read it beside the data."""

import re
from typing import Any

from puna.data.card.blocks import Block, Code, Flow, Points, Sentence, Table
from puna.data.card.page import figures, sections

_SPECIAL = re.compile(r"[\\`*\[\]<>|&~$]")
_NAME = re.compile(r"[^\s`|]+( → [^\s`|]+)*")
_WARNINGS = "warnings"


def markdown(card: dict[str, Any]) -> str:
    """The card as GitHub-flavoured Markdown; text of a source never becomes markup."""
    blocks = [f"# Data card: {_text(card['name'])}", _paragraph(card["description"]), _summary(card)]
    for section in sections(card):
        if section.name == _WARNINGS:
            blocks += [f"**Warning:** {sentence}" for part in section.blocks for sentence in _sentences(part)]
        else:
            blocks += [f"## {section.title}", *map(_block, section.blocks)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _summary(card: dict[str, Any]) -> str:
    return "; ".join(f"{number} {what}" for number, what in figures(card)) + "."


def _sentences(block: Block) -> list[str]:
    return block.sentences if isinstance(block, Points) else []


def _block(block: Block) -> str:
    match block:
        case Table():
            return f"**{_text(block.caption)}**\n\n" + _table(block.header, block.labels, block.rows)
        case Flow():
            rows = [[step.name, *step.figures] for step in block.steps]
            return f"**{_text(block.caption)}**\n\n" + _table(["step", *block.header], 1, rows)
        case Points():
            return "\n".join(f"- {sentence}" for sentence in block.sentences)
        case _:
            return block


def _table(header: list[str], labels: int, rows: list[list[str]]) -> str:
    """A table with `labels` columns of labels, then columns of figures, aligned to the right."""
    rule = "|---" * labels + "|---:" * (len(header) - labels) + "|"
    return "\n".join([_row(header), rule, *map(_row, rows)])


def _row(cells: list[str]) -> str:
    """A line of a table; no content of a cell can end the cell."""
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(cell: str) -> str:
    if isinstance(cell, Sentence):
        return cell.replace("|", "\\|")
    return f"`{cell}`" if isinstance(cell, Code) and _NAME.fullmatch(cell) else _text(cell)


def _paragraph(text: str) -> str:
    """Text that does not begin a list, heading or rule."""
    escaped = _text(text)
    return f"\\{escaped}" if escaped[:1] in set("#+-=_") else escaped


def _text(text: str) -> str:
    """Text on one line, without markup."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))
