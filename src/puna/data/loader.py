"""Batches of training sequences, in an order that nothing but the recipe and the data decides.

A source's tokens are cut into chunks of a context and one token more, the next one's first, so that every token is a
target once. Each epoch of a source visits all its chunks in an order of its own. The loader has no state: any process
asks for any sequences of the run by their numbers.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from puna.core.errors import DataError
from puna.core.files import sha256_json
from puna.data.mixture import BLOCK, Mixture
from puna.data.permutation import Permutation
from puna.data.shards import TokenShards


@dataclass(frozen=True)
class Span:
    """A part of a sequence that comes from one document."""

    source: str
    document: dict[str, str]
    """Its id and origin."""
    first: int
    """First token of the part, counted in the document from 0, which is <s>."""
    count: int
    """Tokens in the part."""


class Loader:
    """The sequences of a run.

    Args:
        shards: The training shards by source.
        shares: Each source's share of the sequences, in any unit.
        context: Tokens per sequence (T).
        seed: Decides the order.

    Raises:
        DataError: A source has not even one sequence, or too small a share.
    """

    def __init__(self, shards: dict[str, TokenShards], shares: dict[str, float], context: int, seed: int) -> None:
        self._shards = list(shards.values())
        self._context = context
        self._mixture = Mixture({source: shares[source] for source in shards}, seed)
        self.chunks = {source: (part.tokens - 1) // context for source, part in shards.items()}
        """Sequences in one epoch of each source; the tokens after the last whole one are left out."""
        for source, part in shards.items():
            if not self.chunks[source]:
                raise DataError(
                    f"source {source!r} has {part.tokens} tokens, but one sequence of model.context = {context} needs "
                    f"{context + 1}"
                )
        self.fingerprint: str = sha256_json(
            [[(source, part.fingerprint, shares[source]) for source, part in shards.items()], context, seed]
        )
        """Equal fingerprints mean equal sequences."""
        self._orders = [Permutation(chunks, ["chunks", seed, source]) for source, chunks in self.chunks.items()]
        # A batch may lie across two blocks.
        self._plan = lru_cache(maxsize=2)(self._make_plan)

    def batch(self, first: int, count: int) -> NDArray[np.int64]:
        """Sequences `first` to `first + count - 1` of the run, (count, T + 1): inputs and, one further, targets."""
        rows = np.empty((count, self._context + 1), dtype=np.int64)
        for row in range(count):
            shards, position = self._locate(first + row)
            rows[row] = shards.read(position, self._context + 1)
        return rows

    def trace(self, sequence: int) -> list[Span]:
        """Which documents a sequence of the run is made of."""
        shards, position = self._locate(sequence)
        end = position + self._context + 1
        spans = []
        while position < end:
            document, start, tokens = shards.document_at(position)
            stop = min(end, start + tokens)
            spans.append(Span(shards.source, document, position - start, stop - position))
            position = stop
        return spans

    def _locate(self, sequence: int) -> tuple[TokenShards, int]:
        """The shards that a sequence comes from, and its first token in them."""
        block, offset = divmod(sequence, BLOCK)
        sources, positions = self._plan(block)
        return self._shards[sources[offset]], int(positions[offset])

    def _make_plan(self, block: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The source and the first token of each sequence of a block of the mixture."""
        sources, numbers = self._mixture.block(block)
        positions = np.empty(BLOCK, dtype=np.int64)
        for source, chunks in enumerate(self.chunks.values()):
            mine = sources == source
            epochs, places = np.divmod(numbers[mine], chunks)
            positions[mine] = self._orders[source](places, epochs) * self._context
        return sources, positions
