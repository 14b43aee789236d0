"""Compiled n-gram hashes of words, and their search in a sorted table.

The hash of the n-gram w(1) … w(n) of word hashes is the sum of w(i) B^(n-i) modulo 2^64. Word hashes behave like random
numbers, so two different n-grams have the same hash with a probability of at most 2^-56: B is 5 modulo 8, so for n up
to 100 no difference of its powers is divisible by more than 2^8.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

BASE = 0x9E3779B97F4A7C15
_BASE = np.uint64(BASE)
_ONE, _WORD_BITS = np.uint64(1), np.uint64(6)
_BIT_MASK = np.uint64(63)


@njit(cache=True, nogil=True, inline="always")
def first_ngram(words: NDArray[np.uint64], n: int) -> tuple[np.uint64, np.uint64]:
    """The hash of the first n words, and B^(n-1), the factor of the first of them."""
    value, factor = np.uint64(0), _ONE
    for at in range(n):
        value = value * _BASE + words[at]
        if at:
            factor *= _BASE
    return value, factor


@njit(cache=True, nogil=True)
def ngram_hashes(words: NDArray[np.uint64], n: int) -> NDArray[np.uint64]:
    """The hash of each n consecutive words."""
    if words.size < n:
        return np.empty(0, dtype=np.uint64)
    found = np.empty(words.size - n + 1, dtype=np.uint64)
    value, factor = first_ngram(words, n)
    found[0] = value
    for at in range(1, found.size):
        value = (value - words[at - 1] * factor) * _BASE + words[at + n - 1]
        found[at] = value
    return found


@njit(cache=True, nogil=True)
def make_filter(hashes: NDArray[np.uint64], bits: int) -> NDArray[np.uint64]:
    """A bitmap of 2^bits bits: set at the first bits of each hash."""
    bitmap = np.zeros(1 << bits - 6, dtype=np.uint64)
    shift = np.uint64(64 - bits)
    for value in hashes:
        place = value >> shift
        bitmap[place >> _WORD_BITS] |= _ONE << (place & _BIT_MASK)
    return bitmap


@njit(cache=True, nogil=True)
def find_ngrams(
    words: NDArray[np.uint64], n: int, hashes: NDArray[np.uint64], bitmap: NDArray[np.uint64], bits: int
) -> Any:
    """For each n consecutive words with a hash in the table: the first word's place, and the index in the table."""
    capacity, count = 16, 0
    places, indices = np.empty(capacity, dtype=np.int64), np.empty(capacity, dtype=np.int64)
    if words.size >= n:
        shift = np.uint64(64 - bits)
        value, factor = first_ngram(words, n)
        for at in range(words.size - n + 1):
            if at:
                value = (value - words[at - 1] * factor) * _BASE + words[at + n - 1]
            place = value >> shift
            if not bitmap[place >> _WORD_BITS] >> (place & _BIT_MASK) & _ONE:
                continue
            index, end = 0, hashes.size
            while index < end:
                middle = (index + end) >> 1
                if hashes[middle] < value:
                    index = middle + 1
                else:
                    end = middle
            if index == hashes.size or hashes[index] != value:
                continue
            if count == capacity:
                capacity *= 2
                more_places, more_indices = np.empty(capacity, dtype=np.int64), np.empty(capacity, dtype=np.int64)
                more_places[:count], more_indices[:count] = places, indices
                places, indices = more_places, more_indices
            places[count], indices[count] = at, index
            count += 1
    return places[:count].copy(), indices[:count].copy()
