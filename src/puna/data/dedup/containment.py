"""Books that contain most of another one: the share of its shingles that they also have, estimated from a sample.

LLaMA (Touvron et al. 2023, section 2.1) removes books with more than 90 % content overlap. A shingle is sampled by its
hash alone, so the same content gives the same sample in every document (FracMinHash: Irber et al. 2022). A share c of n
sampled shingles that is found elsewhere has a standard deviation of sqrt(c (1 - c) / n), without bias.

If a document is contained in a larger one, it goes; of two with equally many shingles, the one with the higher number
goes; but held-out text of any size stays. This is an order of all documents, so the result does not depend on the order
of the work, and a document that goes is contained in one that is greater in that order. The pairs are not joined to
components: of collected works and their volumes only one volume would stay.

1. Rows of `sampled_shingles`, partitioned by `key`, give `shared_shingles`: pairs, with the number that they share
   there.
2. These, partitioned by `number`, give `contained`: each document that goes and the one that stays.

Memory of a task: in the first step at most 80 bytes for each row of its partition and 250 MB for pairs, in the second
120 bytes for each row.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from puna.data.dedup.edges import PAIR, group_starts, pairs_of
from puna.data.dedup.minhash import shingles, text_words
from puna.data.dedup.shuffle import Rows

SHINGLE = np.dtype([("key", "<u8"), ("number", "<u8"), ("count", "<u4")])
"""A sampled shingle, a document that has it, and how many the document has. Partitioned by `key`."""
SHARED = np.dtype([("number", "<u8"), ("kept", "<u8"), ("shared", "<u4"), ("count", "<u4"), ("kept_count", "<u4")])
"""Two documents, how many sampled shingles both have, and how many each has. Partitioned by `number`."""

FEWEST = 50
"""A document with fewer sampled shingles is not compared: one or two may well be shared by chance."""
TOO_MANY = 1000
"""A shingle in more documents than this is a common phrase; it counts as not shared. The number of pairs grows with the
square of this."""
_HELD_OUT_BELOW = np.uint64(1 << 63)
_BLOCK_PAIRS = 1_000_000


def sampled_shingles(text: str, ngram: int, sample: int) -> NDArray[np.uint64]:
    """The text's distinct shingles with a hash divisible by `sample`, sorted; empty if fewer than `FEWEST`."""
    hashes = shingles(text_words(text), ngram)
    found = np.unique(hashes[hashes % np.uint64(sample) == 0])
    return found if len(found) >= FEWEST else found[:0]


def shared_shingles(rows: Rows, *, too_many: int = TOO_MANY) -> tuple[Iterator[Rows], int]:
    """How many shingles pairs of documents share in one partition of the shingles.

    Args:
        rows: All rows (`SHINGLE`) of a partition.
        too_many: Shingles in more documents are left out.

    Returns:
        Blocks of rows (`SHARED`), in which a pair may occur again, and how many shingles were left out.
    """
    rows = rows[np.lexsort((rows["number"], rows["key"]))]
    starts = group_starts(rows["key"])
    sizes = np.diff(starts, append=len(rows))
    is_shared = (sizes > 1) & (sizes <= too_many)
    return _shared_blocks(rows, starts[is_shared], sizes[is_shared]), int((sizes > too_many).sum())


def contained(rows: Rows, threshold: float, gone: Callable[[NDArray[np.uint64]], NDArray[np.bool_]]) -> Rows:
    """Each document that a kept one holds to at least `threshold`, with the greatest such one (`PAIR`), sorted.

    Args:
        rows: All rows (`SHARED`) of a partition.
        threshold: Least share of the smaller document's shingles.
        gone: Documents among these that go anyway, because they equal or nearly equal another one. They neither go for
            this reason nor make others go.
    """
    rows = _added_up(rows)
    rows = rows[rows["shared"] / np.minimum(rows["count"], rows["kept_count"]) >= threshold]
    rows = rows[~(gone(rows["number"]) | gone(rows["kept"]))]
    smaller = np.iinfo(np.uint32).max - rows["kept_count"]
    rows = rows[np.lexsort((rows["kept"], smaller, rows["kept"] >= _HELD_OUT_BELOW, rows["number"]))]
    rows = rows[group_starts(rows["number"])]
    return pairs_of(rows["number"], rows["kept"]) if len(rows) else np.empty(0, dtype=PAIR)


def _shared_blocks(rows: Rows, starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> Iterator[Rows]:
    """The pairs of each group of rows, added up in blocks of some `_BLOCK_PAIRS`."""
    waiting: list[Rows] = []
    count = 0
    for size in np.unique(sizes):  # groups of the same size have the same pairs of places
        first, second = np.triu_indices(size, 1)
        alike = starts[sizes == size]
        step = max(1, _BLOCK_PAIRS // len(first))
        for at in range(0, len(alike), step):
            groups = alike[at : at + step, None]
            waiting.append(_ordered(rows[(groups + first).ravel()], rows[(groups + second).ravel()]))
            count += len(waiting[-1])
            if count >= _BLOCK_PAIRS:
                yield _added_up(np.concatenate(waiting))
                waiting, count = [], 0
    if waiting:
        yield _added_up(np.concatenate(waiting))


def _ordered(one: Rows, other: Rows) -> Rows:
    """Pairs of rows (`SHINGLE`) as `SHARED`, with the document that would go first."""
    out = one["number"] >= _HELD_OUT_BELOW
    other_out = other["number"] >= _HELD_OUT_BELOW
    smaller = (one["count"] < other["count"]) | ((one["count"] == other["count"]) & (one["number"] > other["number"]))
    goes = np.where(out == other_out, smaller, out)
    pairs = np.empty(len(one), dtype=SHARED)
    for field in ("number", "count"):
        pairs[field] = np.where(goes, one[field], other[field])
        pairs["kept" if field == "number" else "kept_count"] = np.where(goes, other[field], one[field])
    pairs["shared"] = 1
    return pairs


def _added_up(rows: Rows) -> Rows:
    """The rows with each pair once, sorted."""
    rows = rows[np.lexsort((rows["kept"], rows["number"]))]
    differs = np.ones(len(rows), dtype=bool)
    differs[1:] = (rows["number"][1:] != rows["number"][:-1]) | (rows["kept"][1:] != rows["kept"][:-1])
    starts = np.flatnonzero(differs)
    added = rows[starts]
    if len(rows):
        added["shared"] = np.add.reduceat(rows["shared"], starts)
    return added
