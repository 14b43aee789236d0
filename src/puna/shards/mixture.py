"""The source of each sequence of a run, computed from the sequence's number alone.

Sequences are counted over the whole run and all processes. A run has one stage, or several with mixtures of their own.
Every block of 65,536 from a stage's first sequence on has the same number of sequences of each source, its share by
largest remainder, in an order that follows from the seed. The k-th sequence of a source in a block is its next one, so
a source is read in its own order, independent of the others and over all stages; a source that a stage does not name is
not read. The order comes from our own permutation, not from NumPy's generators, whose streams may change between
versions (NEP 19).
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from puna.core.errors import DataError
from puna.shards.permutation import Permutation

BLOCK = 1 << 16
"""Sequences of a block, in which the counts of all sources are exact; shares are multiples of 1/65,536."""


_BLOCKS = 16
"""How many blocks' places of a source are cached."""


@dataclass(frozen=True, eq=False)
class MixtureStage:
    """A part of the run with one mixture."""

    first: int
    """Its first sequence of the run."""
    quotas: NDArray[np.int64]
    """Sequences of each source in a block."""
    before: NDArray[np.int64]
    """Sequences of each source in the earlier stages."""
    places: Permutation

    def block(self, block: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The source of each sequence of a block, as an index, and the sequence's number in that source.

        A source's numbers go on from block to block and from stage to stage: 0, 1, 2 and so forth.
        """
        labels = np.repeat(np.arange(len(self.quotas)), self.quotas)[self.places(np.arange(BLOCK), block)]
        numbers = np.empty(BLOCK, dtype=np.int64)
        for source, (before, quota) in enumerate(zip(self.before, self.quotas, strict=True)):
            numbers[labels == source] = before + block * quota + np.arange(quota)
        return labels, numbers

    def places_of(self, source: int, block: int) -> NDArray[np.int64]:
        """The places in a block of the sequences of a source, in order: the inverse of `block` for one source."""
        first = int(self.quotas[:source].sum())
        return np.sort(self.places.inverse(np.arange(first, first + self.quotas[source]), block))

    def counts(self, sequences: int) -> NDArray[np.int64]:
        """How many of the run's sequences before the stage's `sequences`-th come from each source."""
        blocks, rest = divmod(sequences, BLOCK)
        counts = self.before + blocks * self.quotas
        if rest:
            labels, _ = self.block(blocks)
            counts += np.bincount(labels[:rest], minlength=len(counts))
        return counts


class Mixture:
    """The order of the sources.

    Args:
        shares: Each source's share, in any unit.
        seed: Seed of the order.
        later: The stages after the first: number of the first sequence in the run, and shares.

    Raises:
        DataError: A share is so small that a block has no sequence of the source.
    """

    def __init__(self, shares: dict[str, float], seed: int, later: Sequence[tuple[int, dict[str, float]]] = ()) -> None:
        names = list(shares)
        places = Permutation(BLOCK, ["mixture", seed])
        nothing = np.zeros(len(names), dtype=np.int64)
        self.stages = [MixtureStage(0, _quotas(shares, names, "mixture"), nothing, places)]
        """The stages in the order of the run."""
        for number, (first, other) in enumerate(later):
            before = self.stages[-1].counts(first - self.stages[-1].first)
            # Blocks are counted from the stage's first sequence: the same key would repeat the first stage's order.
            places = Permutation(BLOCK, ["mixture", seed, number + 1])
            quotas = _quotas(other, names, f"stages[{number}].mixture")
            self.stages.append(MixtureStage(first, quotas, before, places))
        self._firsts = [stage.first for stage in self.stages]
        self._places = lru_cache(maxsize=_BLOCKS)(lambda stage, source, block: stage.places_of(source, block))

    def find(self, sequence: int) -> tuple[int, int, int]:
        """The place of a sequence in the run: its stage, the block of that stage, its place in the block."""
        stage = bisect_right(self._firsts, sequence) - 1
        block, place = divmod(sequence - self._firsts[stage], BLOCK)
        return stage, block, place

    def sequence_of(self, source: int, number: int) -> int | None:
        """The sequence of the run that is a source's `number`-th; None if no stage gets so far."""
        for stage, later in zip(self.stages, [*self.stages[1:], None], strict=True):
            if later is not None and number >= later.before[source]:
                continue
            if not stage.quotas[source]:
                return None
            block, place = divmod(number - int(stage.before[source]), int(stage.quotas[source]))
            return stage.first + block * BLOCK + int(self._places(stage, source, block)[place])
        return None

    def counts(self, sequences: int) -> NDArray[np.int64]:
        """How many of the run's first `sequences` sequences come from each source."""
        stage = self.stages[bisect_right(self._firsts, sequences) - 1]
        return stage.counts(sequences - stage.first)


def _quotas(shares: dict[str, float], names: list[str], field: str) -> NDArray[np.int64]:
    """Whole numbers that sum to a block, by largest remainder; the first of equals wins, and a share of 0 stays 0."""
    present = [index for index, name in enumerate(names) if name in shares]
    values = np.array([shares[names[index]] for index in present])
    exact = values / sum(values.tolist()) * BLOCK
    floors = np.floor(exact).astype(np.int64)
    order = np.argsort(floors - exact, kind="stable")
    floors[order[: BLOCK - int(floors.sum())]] += 1
    for index, quota in zip(present, floors, strict=True):
        if not quota:
            share, total = shares[names[index]], sum(shares.values())
            raise DataError(
                f"{field}.{names[index]} is {share:g} of {total:g}: less than one sequence in {BLOCK}",
                hint="raise it, or leave the source out",
            )
    quotas = np.zeros(len(names), dtype=np.int64)
    quotas[present] = floors
    return quotas
