"""The order of all suffixes of a part's tokens, by the bytes of the tokens (a suffix array; Manber and Myers 1993)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from puna.search.kernel import keep_starts

MOST_TOKENS = (1 << 31) // 3 - 1
"""Tokens of a shard: its suffixes are counted in bytes, with 32 bits and a sign."""


def bytes_per_token(vocabulary: int) -> int:
    """Bytes of memory that making the order takes per token: 6 and 4 for each byte of a rank.

    Args:
        vocabulary: How many tokens there are.
    """
    return 6 + 4 * _width(vocabulary)


def suffix_order(
    tokens: NDArray[np.integer[Any]], rank_of: NDArray[np.int32]
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Where each suffix begins, in their order, and where the suffixes are that begin with each rank.

    libdivsufsort (Mori) sorts the suffixes of bytes, in time that grows with n log n whatever the text. Ranks are
    written with the highest byte first, so the suffixes that begin with one are in the order that is wanted. It takes
    4 bytes of memory per byte, so 10 per token in all for ranks of 2 bytes.

    Args:
        tokens: (N,), ids, fewer than 2^31 bytes as ranks.
        rank_of: (V,), `Vocabulary.rank_of`, whose highest rank is R - 1.

    Returns:
        (N,) and (R + 1,).
    """
    from pydivsufsort import divsufsort

    n_ranks = int(rank_of.max()) + 1
    width = _width(n_ranks)
    ranks = rank_of[tokens]
    first_of = np.concatenate([[0], np.cumsum(np.bincount(ranks, minlength=n_ranks))]).astype(np.int64)
    if not len(tokens):
        return np.empty(0, np.uint32), first_of
    content = np.empty((len(tokens), width), np.uint8)
    for byte in range(width):
        content[:, byte] = ranks >> 8 * (width - 1 - byte)
    del ranks
    order = divsufsort(content.reshape(-1))
    count = keep_starts(order, width)
    return order[:count].astype(np.uint32), first_of


def _width(ranks: int) -> int:
    """Bytes in which a rank is written."""
    return 1 if ranks <= 1 << 8 else 2 if ranks <= 1 << 16 else 3
