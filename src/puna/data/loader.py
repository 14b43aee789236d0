"""Batches of training sequences, in an order that nothing but the recipe and the data decides.

A source's tokens are cut into chunks of a context and one token more, the next one's first, so that every token is a
target once. Each epoch of a source visits all its chunks in an order of its own. The loader has no state: any process
asks for any sequences of the run by their numbers.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from puna.core.errors import DataError
from puna.core.files import sha256_json
from puna.data.mixture import Mixture
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
        self._seed = seed
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
        self._permutation = lru_cache(maxsize=64)(self._make_permutation)

    def batch(self, first: int, count: int) -> NDArray[np.int64]:
        """Sequences `first` to `first + count - 1` of the run, (count, T + 1): inputs and, one further, targets."""
        rows = np.empty((count, self._context + 1), dtype=np.int64)
        for row, (source, chunk) in enumerate(self._chunks_of(first, count)):
            rows[row] = self._shards[source].read(chunk * self._context, self._context + 1)
        return rows

    def trace(self, sequence: int) -> list[Span]:
        """Which documents a sequence of the run is made of."""
        ((source, chunk),) = self._chunks_of(sequence, 1)
        shards = self._shards[source]
        position, end = chunk * self._context, (chunk + 1) * self._context + 1
        spans = []
        while position < end:
            document, start, tokens = shards.document_at(position)
            stop = min(end, start + tokens)
            spans.append(Span(shards.source, document, position - start, stop - position))
            position = stop
        return spans

    def _chunks_of(self, first: int, count: int) -> list[tuple[int, int]]:
        """Source and chunk of each sequence."""
        sources, numbers = self._mixture.locate(first, count)
        chunks = np.empty(count, dtype=np.int64)
        for source in np.unique(sources):
            mine = sources == source
            epochs, places = np.divmod(numbers[mine], self.chunks[self._shards[source].source])
            found = np.empty(len(places), dtype=np.int64)
            for epoch in np.unique(epochs):
                at = epochs == epoch
                found[at] = self._permutation(int(source), int(epoch))(places[at])
            chunks[mine] = found
        return list(zip(sources.tolist(), chunks.tolist(), strict=True))

    def _make_permutation(self, source: int, epoch: int) -> Permutation:
        name = self._shards[source].source
        key: list[Any] = ["chunks", self._seed, name, epoch]
        return Permutation(self.chunks[name], key)
