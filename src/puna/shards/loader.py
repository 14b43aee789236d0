"""Batches of training sequences, in an order that depends on the recipe and the data only.

A source's tokens are cut into chunks of a context and one more token, the first of the next chunk, so that every token
is a target once. Each epoch of a source visits all its chunks in an order of its own. The loader has no state: any
process can read any sequences of the run by their numbers.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from puna.config.recipe import Recipe
from puna.core.errors import DataError
from puna.core.files import sha256_json
from puna.shards.files import Piece, Reader
from puna.shards.mixture import BLOCK, Mixture
from puna.shards.permutation import Permutation
from puna.shards.shards import TokenShards

_PLANS = 4
"""How many blocks' plans are cached: a batch may span two blocks, and batches read ahead are in the next ones."""


@dataclass(frozen=True)
class Span:
    """A part of a sequence that comes from one document."""

    source: str
    document: dict[str, str]
    """The document's id and origin."""
    first: int
    """First token of the part, counted in the document from 0, which is <s>."""
    count: int
    """Tokens in the part."""


class Loader:
    """The sequences of a run.

    Args:
        shards: The training shards of every source in the recipe's mixture.
        recipe: Its mixture, stages, context and seed decide the order.

    Raises:
        DataError: A source has not even one sequence, too small a share, or another tokenizer than the others.
    """

    def __init__(self, shards: dict[str, TokenShards], recipe: Recipe) -> None:
        self.names = list(recipe.mixture)
        """The sources, in the order of their labels."""
        self._shards = [shards[name] for name in self.names]
        self._context = context = recipe.model.context
        later = [(stage.from_tokens // context, stage.mixture) for stage in recipe.stages]
        self._mixture = Mixture(recipe.mixture, recipe.seed, later)
        self.chunks = {name: (shards[name].tokens - 1) // context for name in self.names}
        """Sequences in one epoch of each source; the tokens after the last whole one are left out."""
        self._check_shards()
        self._dtype = self._shards[0].dtype
        self.bos_id = self._shards[0].bos_id
        """The token that begins a document."""
        parts = [
            (name, part.fingerprint, recipe.mixture[name]) for name, part in zip(self.names, self._shards, strict=True)
        ]
        stages = [[stage.from_tokens, stage.mixture] for stage in recipe.stages]
        self.fingerprint: str = sha256_json([parts, context, recipe.seed, *([stages] if stages else [])])
        """Equal fingerprints mean equal sequences."""
        self._orders = [Permutation(chunks, ["chunks", recipe.seed, name]) for name, chunks in self.chunks.items()]
        self._plan = lru_cache(maxsize=_PLANS)(self._make_plan)

    def batch(self, first: int, count: int) -> NDArray[np.int64]:
        """Sequences `first` to `first + count - 1` of the run, (count, T + 1): inputs and, one further, targets.

        Raises:
            DataError: A file cannot be read any more.
        """
        rows = np.empty((count, self._context + 1), dtype=self._dtype)
        raw = rows.view(np.uint8)
        # All pieces of one reader are read in one call, so that a remote one waits only once.
        pieces: dict[Reader, list[Piece]] = {}
        for row in range(count):
            source, position = self._locate(first + row)
            shards = self._shards[source]
            pieces.setdefault(shards.files.reader, []).extend(shards.pieces(position, raw[row]))
        for reader, wanted in pieces.items():
            reader(wanted)
        return rows.astype(np.int64)

    def labels(self, first: int, count: int) -> NDArray[np.int64]:
        """The source of each of the same sequences, as an index into `names`, (count,)."""
        return np.array([self._locate(sequence)[0] for sequence in range(first, first + count)], dtype=np.int64)

    def counts(self, sequences: int) -> dict[str, int]:
        """How many of the run's first `sequences` sequences come from each source."""
        return dict(zip(self.names, self._mixture.counts(sequences).tolist(), strict=True))

    def epochs(self, sequences: int) -> dict[str, float]:
        """How often the run's first `sequences` sequences have gone through each source."""
        return {name: count / self.chunks[name] for name, count in self.counts(sequences).items()}

    def check_epochs(self, sequences: int, max_epochs: dict[str, float]) -> None:
        """Refuse a number of sequences that would read a source more often than `max_epochs` allows.

        Raises:
            DataError: It names the first such source.
        """
        if found := read_too_often(self.epochs(sequences), max_epochs):
            name, times = found
            raise DataError(
                f"source {name!r}: the run would read its {self._shards[self.names.index(name)].tokens} tokens "
                f"{times} times, but max_epochs.{name} = {max_epochs[name]:g}",
                hint=f"lower train.tokens or the share mixture.{name}, add text, or raise max_epochs.{name}",
            )

    def trace(self, sequence: int) -> list[Span]:
        """The documents in a sequence of the run."""
        source, position = self._locate(sequence)
        shards = self._shards[source]
        end = position + self._context + 1
        spans = []
        while position < end:
            document, start, tokens = shards.document_at(position)
            stop = min(end, start + tokens)
            spans.append(Span(self.names[source], document, position - start, stop - position))
            position = stop
        return spans

    def reads(self, source: str, position: int, sequences: int) -> list[int]:
        """Which of the run's first sequences have read a token as an input; the inverse of `trace`.

        Args:
            source: The token's source.
            position: Its position in the training shards of the source.
            sequences: How many sequences the run has read.
        """
        if source not in self.chunks:
            return []
        chunk, chunks, label = position // self._context, self.chunks[source], self.names.index(source)
        if chunk >= chunks:
            return []  # behind the last whole sequence
        found = []
        for epoch in range(-(-self.counts(sequences)[source] // chunks)):
            place = int(self._orders[label].inverse(np.array([chunk]), epoch)[0])
            sequence = self._mixture.sequence_of(label, epoch * chunks + place)
            if sequence is not None and sequence < sequences:
                found.append(sequence)
        return found

    def _check_shards(self) -> None:
        tokenizers = {part.tokenizer_sha256: name for name, part in zip(self.names, self._shards, strict=True)}
        if len(tokenizers) > 1:
            first, second = list(tokenizers.values())[:2]
            raise DataError(f"sources {first!r} and {second!r} were written with different tokenizers")
        for name, part in zip(self.names, self._shards, strict=True):
            if not self.chunks[name]:
                raise DataError(
                    f"source {name!r} has {part.tokens} tokens, but one sequence of model.context = {self._context} "
                    f"needs {self._context + 1}"
                )

    def _locate(self, sequence: int) -> tuple[int, int]:
        """The source of a sequence, as an index, and its first token there."""
        stage, block, place = self._mixture.find(sequence)
        sources, positions = self._plan(stage, block)
        return int(sources[place]), int(positions[place])

    def _make_plan(self, stage: int, block: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The source and the first token of each sequence of a block of the mixture."""
        sources, numbers = self._mixture.stages[stage].block(block)
        positions = np.empty(BLOCK, dtype=np.int64)
        for source, chunks in enumerate(self.chunks.values()):
            mine = sources == source
            epochs, places = np.divmod(numbers[mine], chunks)
            positions[mine] = self._orders[source](places, epochs) * self._context
        return sources, positions


def read_too_often(epochs: dict[str, float], max_epochs: dict[str, float]) -> tuple[str, str] | None:
    """The first source that would be read more often than is allowed, and how often; None if there is none.

    The number is rounded up to three decimals, so that slightly too much does not look like just enough.
    """
    for name, most in max_epochs.items():
        if epochs[name] > most:
            return name, f"{math.ceil(epochs[name] * 1000) / 1000:g}"
    return None
