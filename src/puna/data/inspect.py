"""Kept and dropped documents of a build, shown one after the other without holding them all."""

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from puna.chat.example import Example
from puna.chat.messages import Message
from puna.core.errors import DataError
from puna.core.layout import DataDir
from puna.data.card.steps import dropped_documents
from puna.data.document import Document, Dropped
from puna.data.document_files import read_lines
from puna.data.documents import documents_files, documents_of, documents_record
from puna.data.reasons import explain
from puna.shards.format import rebuild
from puna.shards.split import HELDOUT, TRAIN

_REMEMBERED = 8
"""How many documents a cursor can go back to without reading again; each may have `data.max_document_bytes`."""

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Kept:
    """A document that is in the build."""

    document: Document
    split: str
    """`train` or `heldout`."""


class Inspection:
    """The documents of a build, or only those of one source or with a given text.

    Args:
        out: The build's directory.
        source: Only of this source.
        text: Only documents with this in their text, id or detail; upper and lower case are the same.

    Raises:
        DataError: There are no documents, their record is damaged, or there is no such source.
    """

    def __init__(self, out: DataDir, source: str | None = None, text: str | None = None) -> None:
        self._out, self._text = out, text.casefold() if text else ""
        record = documents_record(out)
        try:
            results, self.keeps_text = record["results"], bool(record["config"]["keep_dropped"])
            """Whether the recipe keeps the texts of dropped documents."""
            self.sources: list[str] = list(results) if source is None else [source]
            """Names of the sources, in the order of the recipe."""
            if source is not None and source not in results:
                raise DataError(f"{out.documents}: has no source {source!r}, but {', '.join(results)}")
            self._dropped = {name: dropped_documents(results[name]) for name in self.sources}
        except (KeyError, TypeError, AttributeError):
            raise DataError(f"{out.documents / 'record.json'}: is not a record of documents") from None

    @property
    def reasons(self) -> dict[str, int]:
        """How many documents were dropped for each reason, most first."""
        counts: dict[str, int] = {}
        for reasons in self._dropped.values():
            for reason, count in reasons.items():
                counts[reason] = counts.get(reason, 0) + count
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def check_reason(self, reason: str) -> None:
        """Refuse a reason that no document was dropped for.

        Raises:
            DataError: It lists the existing reasons.
        """
        if reason not in self.reasons:
            there = ", ".join(f"{name} ({count:,})" for name, count in self.reasons.items())
            raise DataError(
                f"--reason {reason}: no document of {', '.join(self.sources)} was dropped for it",
                hint=f"there are: {there}" if there else "nothing was dropped at all",
            )

    def kept(self) -> Iterator[Kept]:
        """Documents that are in the build: source by source, training text first.

        Raises:
            DataError: A file is missing or damaged.
        """
        for source in self.sources:
            for split in (TRAIN, HELDOUT):
                for document in documents_of(self._out, source, split):
                    if self._has(document.text, document.id):
                        yield Kept(document, split)

    def dropped(self, reason: str | None = None) -> Iterator[Dropped]:
        """Dropped documents, source by source; only those with the given reason, if any.

        Raises:
            DataError: A file is missing or damaged.
        """
        for source in self.sources:
            if reason is None or reason in self._dropped[source]:
                for file in documents_files(self._out, source, "dropped"):
                    for row in _dropped(self._out.documents / file.path, source):
                        if reason in (None, row.reason) and self._has(row.text, row.id, row.detail):
                            yield row

    def _has(self, *texts: str) -> bool:
        return not self._text or any(self._text in text.casefold() for text in texts)


def _dropped(path: Path, source: str) -> Iterator[Dropped]:
    for number, fields in enumerate(read_lines(path), start=1):
        try:
            yield Dropped(source, **fields)
        except TypeError:
            raise DataError(f"{path}: line {number} is damaged", hint=rebuild(path)) from None


def sample(rows: Iterable[Row], count: int, seed: int) -> list[Row]:
    """A random sample of `count` rows, each with the same probability, in their order; all if there are fewer.

    It takes one pass and holds at most `count` rows (algorithm R: Vitter 1985).
    """
    generator = random.Random(seed)  # noqa: S311
    chosen: list[tuple[int, Row]] = []
    for number, row in enumerate(rows):
        if number < count:
            chosen.append((number, row))
        elif (place := generator.randrange(number + 1)) < count:
            chosen[place] = (number, row)
    return [row for _, row in sorted(chosen, key=lambda item: item[0])]


class Cursor(Generic[Row]):
    """Rows by number from an iterator: rows further back than the cache are read again.

    Args:
        make: Begins to read at the first row.
    """

    def __init__(self, make: Callable[[], Iterable[Row]]) -> None:
        self._make = make
        self._restart()

    def get(self, number: int) -> Row | None:
        """The row, counted from 0; None after the last one."""
        if number < self._next - len(self._seen):
            self._restart()
        while self._next <= number:
            try:
                self._seen.append(next(self._rows))
            except StopIteration:
                return None
            self._next += 1
        return self._seen[number - self._next]

    def _restart(self) -> None:
        self._rows: Iterator[Row] = iter(self._make())
        self._next = 0
        self._seen: deque[Row] = deque(maxlen=_REMEMBERED)


def about(row: Kept | Dropped) -> list[str]:
    """Facts about a document besides its text, or why it is not in the build, line by line."""
    if not isinstance(row, Kept):
        return [f"{row.reason}: {explain(row.reason)}"] + ([" ".join(row.detail.split())] if row.detail else [])
    document = row.document
    scores = [f"{name} {score:.3g}" for name, score in document.scores.items()]
    task = f"task {named}" if document.turns and (named := Example.parse(document.turns, document.id).task) else ""
    facts = [task, document.language, document.date, document.licence, document.url, *scores]
    return [" ".join(line.split()) for line in (document.origin, " · ".join(fact for fact in facts if fact)) if line]


def shown_text(document: Document) -> str:
    """The text of a document; of an example its turns, each below who says it."""
    if not document.turns:
        return document.text
    example = Example.parse(document.turns, document.id)
    parts = (("", example.messages), ("chosen: ", example.chosen), ("rejected: ", example.rejected))
    return "\n\n".join(f"[{part}{turn.role}]\n{_said(turn)}" for part, turns in parts for turn in turns)


def _said(turn: Message) -> str:
    calls = [f"{call.name}({call.arguments})" for call in turn.tool_calls]
    return "\n".join([turn.content] * bool(turn.content or not calls) + calls)


def missing_text(keeps_text: bool) -> str:
    """Why a dropped document has no text here."""
    if keeps_text:
        return "(There was no text to keep.)"
    return "(The build has not kept the texts of dropped documents: build with data.keep_dropped = true.)"


def without_controls(text: str) -> str:
    """The text, with a replacement for every character that could control a terminal or turn the writing direction."""
    return text.translate(_SHOWN)


_CONTROLS = [*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_SHOWN: dict[int, Any] = dict.fromkeys([*_CONTROLS, *range(0xD800, 0xE000)], "\ufffd")
