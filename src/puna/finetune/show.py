"""A batch as people read it: every token with its weight in the loss, every document with its positions.

All of it is read from the arrays that the model is given, so that what is shown is what is trained.
"""

from collections.abc import Iterator
from itertools import groupby, pairwise
from typing import NamedTuple

import numpy as np

from puna.core.errors import escaped
from puna.core.units import counted
from puna.finetune.feed import ExampleFeed
from puna.shards.heldout import IGNORE
from puna.tokenizer.tokenizer import Tokenizer
from puna.train.feed import Batch

LEARNED, CONTEXT = ("1;32", "32"), ("2", "22")
"""ANSI's codes of tokens that are learned, bright and plain green, and of others, dim and plain; they alternate, so
that one sees where a token ends."""


class Shown(NamedTuple):
    """A token of a document."""

    id: int
    learned: bool


class ShownDocument(NamedTuple):
    """A document of a sequence, from the arrays of a batch."""

    number: int
    first: int
    """Its first position in the sequence."""
    last: int
    """Its last position in the sequence."""
    positions: tuple[int, int]
    """What the model is told of these two: its own first and last position."""
    source: int
    """Index of its source; negative for padding."""
    tokens: list[Shown]
    """Its tokens; of padding none."""


def documents_in(batch: Batch, row: int) -> Iterator[ShownDocument]:
    """The documents of a sequence, padding included.

    Args:
        batch: What a device is given.
        row: The number of the sequence in it.
    """
    assert batch.documents_BT is not None  # noqa: S101 - a feed of examples numbers documents
    assert batch.positions_BT is not None  # noqa: S101
    assert batch.sources_BT is not None  # noqa: S101
    documents, inputs, targets = batch.documents_BT[row], batch.inputs_BT[row], batch.targets_BT[row]
    positions, sources = batch.positions_BT[row], batch.sources_BT[row]
    edges = [0, *(np.flatnonzero(np.diff(documents)) + 1).tolist(), len(documents)]
    for first, end in pairwise(edges):
        learned = targets[first:end] != IGNORE
        tokens = []
        if learned.any():
            ids = [*inputs[first:end].tolist(), int(targets[end - 1])]
            tokens = [Shown(ids[0], False)]
            tokens += [Shown(token, bool(weight)) for token, weight in zip(ids[1:], learned, strict=True)]
        yield ShownDocument(
            int(documents[first]), first, end - 1, (int(positions[first]), int(positions[end - 1])),
            int(sources[first]), tokens,
        )  # fmt: skip


def show_batch(
    feed: ExampleFeed, tokenizer: Tokenizer, *, number: int = 0, sequences: int | None = None, colours: bool = False
) -> str:
    """A batch as text.

    Args:
        feed: The batches of the run.
        tokenizer: The model's.
        number: The number of the batch.
        sequences: How many of its sequences are shown; None shows all.
        colours: Whether tokens are coloured for a terminal; else each stretch has its weight before it.
    """
    rows = feed.rows if sequences is None else min(sequences, feed.rows)
    batch = feed.batch(number * feed.rows, rows)
    packs = feed.plan.packs(number * feed.rows, rows)
    lines = []
    for row in range(rows):
        shown = list(documents_in(batch, row))
        used = sum(len(document.tokens) - 1 for document in shown if document.tokens)
        targets = int((batch.targets_BT[row] != IGNORE).sum())
        width = batch.targets_BT.shape[1]
        lines.append(
            f"sequence {number * feed.rows + row}: {counted(len(packs[row]), 'example')}, {used} of {width} "
            f"positions filled, {targets} tokens learned"
        )
        for document in shown:
            lines += _document(feed, tokenizer, document, packs[row].tolist(), colours=colours)
    lines.append(_counts(feed, batch, number, rows))
    return "\n".join(lines) + "\n"


def _document(
    feed: ExampleFeed, tokenizer: Tokenizer, document: ShownDocument, pack: list[int], *, colours: bool
) -> list[str]:
    place = f"positions {document.first} to {document.last}"
    if not document.tokens:
        return [f"  padding: {place}"]
    width = feed.examples.width
    example = pack[document.number // width]
    name = f"{feed.names[document.source]}/{feed.examples.id(example)}"
    if width > 1:
        name += (" (chosen)", " (rejected)")[document.number % width]
    learned = sum(token.learned for token in document.tokens)
    seen = "seen as {} to {}".format(*document.positions)
    body = _coloured(tokenizer, document.tokens) if colours else _plain(tokenizer, document.tokens)
    return [f"  document {document.number}: {name}, {place}, {seen}, {learned} tokens learned", *body]


def _plain(tokenizer: Tokenizer, tokens: list[Shown]) -> Iterator[str]:
    for learned, stretch in groupby(tokens, key=lambda token: token.learned):
        text = "".join(_texts(tokenizer, [token.id for token in stretch]))
        yield f"    {int(learned)} | {_visible(text)}"


def _coloured(tokenizer: Tokenizer, tokens: list[Shown]) -> Iterator[str]:
    parts = []
    for at, (token, text) in enumerate(zip(tokens, _texts(tokenizer, [token.id for token in tokens]), strict=True)):
        code = (LEARNED if token.learned else CONTEXT)[at % 2]
        parts.append(f"\x1b[{code}m{_visible(text)}\x1b[0m" + "\n" * text.endswith("\n"))
    yield "".join(parts)


def _texts(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    """What each token stands for: its text, or the name of a control token, or of a byte within a character."""
    texts = tokenizer.token_bytes()
    found = []
    for token in ids:
        try:
            found.append(texts[token].decode() if texts[token] else tokenizer.piece(token))
        except UnicodeDecodeError:
            found.append("".join(f"<0x{byte:02X}>" for byte in texts[token]))
    return found


def _visible(text: str) -> str:
    """Ends of lines as an arrow, and what would steer a terminal as its number."""
    return escaped(text.replace("\n", "⏎"))


def _counts(feed: ExampleFeed, batch: Batch, number: int, rows: int) -> str:
    assert batch.counted_S is not None  # noqa: S101 - a feed of examples counts
    what = "pairs" if feed.examples.width > 1 else "tokens learned"
    of_sources = ", ".join(f"{name} {count}" for name, count in zip(feed.names, batch.counted_S, strict=True))
    return (
        f"batch {number}: {rows} of {feed.rows} sequences shown, {what}: {of_sources}; the loss of the whole batch is "
        f"divided by {feed.targets(number)}"
    )
