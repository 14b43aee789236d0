"""Which spans of a text the training data have verbatim, and where they are from.

As OLMoTrace does it (Liu et al. 2025): of all spans that occur in training documents and are not part of longer such
spans, those are shown that are the least likely by chance. The likelihood is that of a unigram model, so it falls with
the length of a span and with the rarity of its words.
"""

import math
from bisect import bisect_right
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any

from puna.core.errors import DataError
from puna.search.found import Found, Place, found
from puna.search.index import TextIndex
from puna.search.reads import Reads

SCHEMA = 1
LONGEST = 200_000
"""Bytes of a text that is traced; what a model writes and an evaluation asks is shorter."""


@dataclass(frozen=True)
class Source:
    """An occurrence of a span, and when the run has read it."""

    place: Place
    steps: list[int] | None
    """The optimizer steps that learned from it, from 1; none of held-out text. None where no run was named."""


@dataclass(frozen=True)
class Span:
    """A part of a text that training documents have verbatim."""

    start: int
    """Its first character in the text."""
    end: int
    """The character after its last one."""
    text: str
    words: int
    """Pieces of it between spaces."""
    tokens: int
    """Tokens of the build's tokenizer that it takes alone."""
    bits: float
    """Minus the base-2 logarithm of its probability by a unigram model of the training tokens."""
    counts: dict[str, dict[str, int]]
    """Occurrences by split and source, where there are any."""
    sources: list[Source]
    """Some of them; the training documents first."""


@dataclass(frozen=True)
class Traced:
    """A text with its spans."""

    text: str
    spans: list[Span]
    """The least likely first."""
    all_spans: int
    """How many there are, shown or not."""
    since: int = 0
    """The steps up to here were made by the run that this one branches from, and are not told; 0 of other runs."""

    def json(self) -> dict[str, Any]:
        """As `--json`, the server and the report give it."""
        return {"schema": SCHEMA, **asdict(self)}


def trace_text(
    index: TextIndex, text: str, *, reads: Reads | None = None, spans: int = 10, documents: int = 3, words: int = 3
) -> Traced:
    """The least likely spans of a text that training documents have.

    Args:
        index: Of the data that the model was trained on.
        text: What a model wrote, or what an evaluation asks.
        reads: The order in which the run has read the data; None for no steps.
        spans: How many are shown at most.
        documents: Occurrences of each that are shown at most.
        words: A span has at least this many words.

    Raises:
        DataError: The text is empty, longer than `LONGEST` bytes, or not Unicode.
    """
    if not text.strip():
        raise DataError("there is no text to trace")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise DataError("the text to trace is not Unicode: it has a lone surrogate") from None
    if size > LONGEST:
        raise DataError(f"the text has {size} bytes, {LONGEST} are traced at most", hint="trace it in parts")
    text = index.kept(text)
    byte_of = list(accumulate((len(character.encode()) for character in text), initial=0))
    candidates = []
    for first, end in index.longest(text):
        start, stop = bisect_right(byte_of, first) - 1, bisect_right(byte_of, end) - 1
        part = text[start:stop]
        if len(part.split()) >= words:
            tokens, bits = _bits(index, part)
            candidates.append((bits, tokens, start, stop))
    candidates.sort(key=lambda one: (-one[0], one[2]))
    return Traced(
        text,
        [_span(index, text, *one, reads=reads, documents=documents) for one in candidates[:spans]],
        len(candidates),
        reads.since if reads else 0,
    )


def _bits(index: TextIndex, text: str) -> tuple[int, float]:
    """Tokens of a text, and minus the base-2 logarithm of its probability; each token counts once more than it does."""
    ids = index.tokenizer.encode(text)
    counts, ranks = index.token_counts, index.vocabulary.rank_of
    total = int(counts.sum()) + len(counts)
    return len(ids), sum(math.log2(total / (int(counts[ranks[token]]) + 1)) for token in ids)


def _span(
    index: TextIndex, text: str, bits: float, tokens: int, start: int, stop: int, *, reads: Reads | None, documents: int
) -> Span:
    part = text[start:stop]
    what: Found = found(index, index.find(part), len(part.encode()), most=documents)
    sources = [
        Source(
            place, None if reads is None else reads.of(place.source, place.position) if place.split == "train" else []
        )
        for place in what.places
    ]
    return Span(start, stop, part, len(part.split()), tokens, round(bits, 2), what.counts, sources)
