"""Which source each sequence of a run comes from, computed from the sequence's number alone.

Sequences are counted over the whole run, whoever reads them. Every block of 65,536 has the same number of sequences of
each source, its share by largest remainder, in an order that the seed decides. The k-th sequence of a source in a block
is its next one, so a source is read in its own order, whatever the others do. The order comes from our own permutation,
not from NumPy's generators, whose streams may change between versions (NEP 19).
"""

import numpy as np
from numpy.typing import NDArray

from puna.core.errors import DataError
from puna.data.permutation import Permutation

BLOCK = 1 << 16
"""Sequences after which the counts of all sources are exact; a share is rounded to a multiple of 1/65,536."""


class Mixture:
    """The order of the sources.

    Args:
        shares: Each source's share, in any unit.
        seed: Decides the order.

    Raises:
        DataError: A share is so small that no sequence of a block is the source's.
    """

    def __init__(self, shares: dict[str, float], seed: int) -> None:
        self.quotas = _quotas(list(shares.values()))
        """Sequences of each source in a block."""
        for source, quota in zip(shares, self.quotas, strict=True):
            if not quota:
                raise DataError(
                    f"mixture.{source} is {shares[source]:g} of {sum(shares.values()):g}: less than one sequence in "
                    f"{BLOCK}",
                    hint="raise it, or leave the source out",
                )
        self._places = Permutation(BLOCK, ["mixture", seed])

    def block(self, block: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The source of each sequence of a block, as an index, and the sequence's number in that source.

        A source's numbers go on from block to block: 0, 1, 2 and so forth.
        """
        labels = np.repeat(np.arange(len(self.quotas)), self.quotas)[self._places(np.arange(BLOCK), block)]
        numbers = np.empty(BLOCK, dtype=np.int64)
        for source, quota in enumerate(self.quotas):
            numbers[labels == source] = block * quota + np.arange(quota)
        return labels, numbers


def _quotas(shares: list[float]) -> NDArray[np.int64]:
    """Whole numbers that sum to a block, by largest remainder; the first of equals wins."""
    exact = np.array(shares) / sum(shares) * BLOCK
    quotas = np.floor(exact).astype(np.int64)
    order = np.argsort(quotas - exact, kind="stable")
    quotas[order[: BLOCK - int(quotas.sum())]] += 1
    return quotas
