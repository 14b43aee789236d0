"""Which source each sequence of a run comes from, computed from the sequence's number alone.

Sequences are counted over the whole run, whoever reads them. Every block of 65,536 has the same number of sequences of
each source, its share by largest remainder, in an order that the seed decides. The k-th sequence of a source in a block
is its next one, so a source is read in its own order, whatever the others do.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from puna.core.errors import DataError

BLOCK = 1 << 16


class Mixture:
    """The order of the sources.

    Args:
        shares: Each source's share, in any unit.
        seed: Decides the order.

    Raises:
        DataError: A share is so small that no sequence of a block is the source's.
    """

    def __init__(self, shares: dict[str, float], seed: int) -> None:
        self.sources = list(shares)
        self.quotas = _quotas(shares)
        """Sequences of each source in a block."""
        for source, quota in zip(self.sources, self.quotas, strict=True):
            if not quota:
                raise DataError(
                    f"mixture.{source} is {shares[source]:g} of {sum(shares.values()):g}: less than one sequence in "
                    f"{BLOCK}",
                    hint="raise it, or leave the source out",
                )
        self._seed = seed
        self._block = lru_cache(maxsize=2)(self._make_block)

    def locate(self, first: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The sources (as indices) of sequences `first` to `first + count - 1`, and each one's number in its source."""
        sources, numbers = [], []
        end = first + count
        while first < end:
            block, offset = divmod(first, BLOCK)
            stop = min(BLOCK, offset + end - first)
            labels, ranks = self._block(block)
            sources.append(labels[offset:stop])
            numbers.append(block * self.quotas[labels[offset:stop]] + ranks[offset:stop])
            first += stop - offset
        return np.concatenate(sources), np.concatenate(numbers)

    def _make_block(self, block: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The source of each sequence of a block, and how many of that source stand before it in the block."""
        labels = np.repeat(np.arange(len(self.quotas)), self.quotas)
        np.random.Generator(np.random.Philox(np.random.SeedSequence([self._seed, block]))).shuffle(labels)
        ranks = np.empty(BLOCK, dtype=np.int64)
        for source, quota in enumerate(self.quotas):
            ranks[labels == source] = np.arange(quota)
        return labels, ranks


def _quotas(shares: dict[str, float]) -> NDArray[np.int64]:
    """Whole numbers that sum to a block, by largest remainder; the first of equals wins."""
    exact = np.array(list(shares.values())) / sum(shares.values()) * BLOCK
    quotas = np.floor(exact).astype(np.int64)
    order = np.argsort(-(exact - quotas), kind="stable")
    quotas[order[: BLOCK - int(quotas.sum())]] += 1
    return quotas
