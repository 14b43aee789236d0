"""Turns rows with a key into pairs of documents that share it.

Memory of a task: at most 48 bytes for each row of its partition and 88 for each row that shares its key.
"""

import numpy as np
from numpy.typing import NDArray

from puna.data.dedup.shuffle import Rows

BAND = np.dtype([("key", "<u8"), ("number", "<u8")])
"""The key of one band of a document's signature, and the document's number. Partitioned by `key`."""
PAIR = np.dtype([("number", "<u8"), ("kept", "<u8")])
"""A document and a lower one that it is joined to; at the end, the one that stays. Partitioned by `number`."""


def bucket_edges(rows: Rows) -> Rows:
    """For documents that share a key: a pair of each one and the lowest (`PAIR`); sorted, no pair twice.

    Args:
        rows: All rows (`BAND`) of a partition; their order does not matter.
    """
    order = np.argsort(rows["key"])
    keys = rows["key"][order]
    starts = group_starts(keys)
    sizes = np.diff(starts, append=len(keys))
    del keys
    order = order[np.repeat(sizes > 1, sizes)]
    sizes = sizes[sizes > 1]
    if not len(sizes):
        return np.empty(0, dtype=PAIR)
    numbers = rows["number"][order]
    lowest = np.repeat(np.minimum.reduceat(numbers, np.cumsum(sizes) - sizes), sizes)
    higher = numbers > lowest  # without the lowest itself, and without documents that have a key twice
    return unique_pairs(pairs_of(numbers[higher], lowest[higher]))


def pairs_of(numbers: NDArray[np.uint64], kept: NDArray[np.uint64]) -> Rows:
    """Pairs from two columns."""
    pairs = np.empty(len(numbers), dtype=PAIR)
    pairs["number"], pairs["kept"] = numbers, kept
    return pairs


def unique_pairs(pairs: Rows) -> Rows:
    """The pairs sorted, each once. Takes 40 bytes for each besides the pairs themselves."""
    pairs = pairs[np.lexsort((pairs["kept"], pairs["number"]))]
    differs = np.ones(len(pairs), dtype=bool)
    differs[1:] = (pairs["number"][1:] != pairs["number"][:-1]) | (pairs["kept"][1:] != pairs["kept"][:-1])
    return pairs[differs]


def group_starts(ordered: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The index at which each new value begins in sorted values."""
    differs = np.ones(len(ordered), dtype=bool)
    differs[1:] = ordered[1:] != ordered[:-1]
    return np.flatnonzero(differs)
