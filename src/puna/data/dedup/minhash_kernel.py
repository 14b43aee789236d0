"""Compiled passes over the words of a text: shingles, minima, bands."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from puna.data.text.word_kernel import finish

BASE = np.uint64(0x9E3779B97F4A7C15)
"""Base of the polynomial of a shingle's words; odd, so that no word is lost modulo 2^64."""
FINAL = np.uint32(0x85EBCA6B)


@njit(cache=True, nogil=True)
def shingle_hashes(words: NDArray[np.uint64], ngram: int) -> NDArray[np.uint64]:
    """The hash of each n-gram: a polynomial of the words' hashes modulo 2^64, mixed."""
    length = min(ngram, words.size)
    out = np.empty(words.size - length + 1 if length else 0, dtype=np.uint64)
    leading, value = np.uint64(1), np.uint64(0)
    for at in range(length):
        leading *= BASE
        value = value * BASE + words[at]
    for at in range(out.size):
        out[at] = finish(value)
        if at + length < words.size:
            value = value * BASE + words[at + length] - leading * words[at]
    return out


@njit(cache=True, nogil=True)
def minima(
    words: NDArray[np.uint64], ngram: int, masks: NDArray[np.uint32], factors: NDArray[np.uint32]
) -> NDArray[np.uint32]:
    """The least value of each hash function over the shingles of at least one word."""
    least = np.full(masks.size, 0xFFFFFFFF, dtype=np.uint32)
    overlap, block = min(ngram, words.size) - 1, 4096
    for start in range(0, words.size - overlap, block):
        for shingle in shingle_hashes(words[start : start + block + overlap], ngram):
            low = np.uint32(shingle)
            for number in range(masks.size):
                value = np.uint32((low ^ masks[number]) * factors[number])
                value = np.uint32((value ^ value >> np.uint32(15)) * FINAL)
                least[number] = min(least[number], value)
    return least


@njit(cache=True, nogil=True)
def fold_bands(least: NDArray[np.uint32], bands: int) -> NDArray[np.uint64]:
    """A 64-bit hash of each band's number and minima."""
    keys = np.empty(bands, dtype=np.uint64)
    for band in range(bands):
        value = finish(np.uint64(band + 1))
        rows = least.size // bands
        for row in range(band * rows, (band + 1) * rows):
            value = finish(value ^ np.uint64(least[row])) * BASE
        keys[band] = finish(value)
    return keys
