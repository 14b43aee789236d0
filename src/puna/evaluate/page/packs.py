"""Documents of an evaluation as a page holds them: an index of each task, and packs of documents, compressed.

A page of 50,000 documents opens at once because a browser unpacks only what is looked at: the index of the task that is
chosen, for the list and its filters, and the pack of a document when that is opened. Packs are gzip in base64, which a
browser reads without any file or server beside the page.
"""

import base64
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from puna.core.bounded import parse_json
from puna.core.errors import DataError
from puna.core.schema.evaluation import DocumentLine
from puna.core.schema.part import parse

TOGETHER = 64
"""Documents of a pack: what is unpacked to show one of them, some 100 kB."""
BEGINNING = 90
"""Characters of a document that the list shows."""
LARGEST = 96 << 20
"""Bytes of all packs of a page; browsers open pages of this size in a few seconds. What goes beyond is left out."""


@dataclass(kw_only=True)
class Packed:
    """The documents of one task."""

    task: str
    index: str = ""
    """Packed JSON: ids, categories and beginnings of all documents, and their values by metric."""
    packs: list[str] = field(default_factory=list)
    documents: int = 0
    left_out: int = 0
    """Documents behind the last one that had room."""

    @property
    def size(self) -> int:
        """Bytes that it takes of the page."""
        return len(self.index) + sum(map(len, self.packs))


def pack_documents(task: str, path: Path, room: int = LARGEST) -> Packed:
    """The documents of a task's file, in their order, as far as they have room.

    Args:
        task: Its id.
        path: The file of `documents/`; its first line is not a document.
        room: Bytes of the page that are left.

    Raises:
        DataError: The file is missing or damaged.
    """
    packed = Packed(task=task)
    ids: list[str] = []
    categories: dict[str, int] = {}
    of_category: list[int] = []
    beginnings: list[str] = []
    values: dict[str, list[float | None]] = {}
    pack: list[bytes] = []
    used = 0

    def close() -> None:
        nonlocal used
        if pack:
            packed.packs.append(_packed(b"[" + b",".join(pack) + b"]"))
            used += len(packed.packs[-1])
            pack.clear()

    for line, document in _lines(path):
        if used >= room:
            packed.left_out += 1
            continue
        pack.append(line)
        ids.append(document.id)
        of_category.append(categories.setdefault(document.category, len(categories)))
        beginnings.append(_beginning(document))
        for metric in document.values.keys() - values.keys():
            values[metric] = [None] * (len(ids) - 1)
        for metric, column in values.items():
            column.append(document.values.get(metric))
        if len(pack) == TOGETHER:
            close()
    close()
    packed.documents = len(ids)
    index = {
        "ids": ids, "categories": list(categories), "category": of_category, "beginnings": beginnings, "values": values,
    }  # fmt: skip
    packed.index = _packed(json.dumps(index, separators=(",", ":")).encode())
    return packed


def _lines(path: Path) -> Iterator[tuple[bytes, DocumentLine]]:
    """The documents as they stand in the file, and read."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if number > 1:
                    where = f"{path}: line {number}"
                    yield line.strip(), parse(DocumentLine, parse_json(line, where, DataError), where)
    except OSError as failure:
        raise DataError(f"{path}: cannot be read: {failure.strerror}") from None


def _beginning(document: DocumentLine) -> str:
    """What tells it from others at a glance: its prompt's end, where the question stands, or its first text."""
    text: str = document.context or (document.options[0].continuation if document.options else "")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    question = next((line for line in reversed(lines) if len(line.split()) > 3), lines[-1] if lines else "")
    return question if len(question) <= BEGINNING else question[: BEGINNING - 1] + "…"


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode()


def unpacked(pack: str) -> Any:
    """What a pack or an index holds."""
    return json.loads(gzip.decompress(base64.b64decode(pack)))
