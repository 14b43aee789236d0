"""Compiled counts of repetitions, by 64-bit hashes in a table with open addressing.

An n-gram that occurs twice begins with an (n-1)-gram that occurs twice. So each n looks only at the places where n - 1
found a repetition: few of the 2-grams of ordinary prose, almost none of its 5-grams.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from puna.data.text.kernel_constants import FIRST
from puna.data.text.word_kernel import FACTOR_1, finish

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True, inline="always")
def join(value: np.uint64, more: np.uint64) -> np.uint64:
    """The hash of a sequence with one more element."""
    return finish((value + GOLDEN) * FACTOR_1 ^ more)


@njit(cache=True, nogil=True)
def capacity(count: int) -> int:
    """Number of slots for this number of keys: a power of two, at most half full."""
    size = 4
    while size < 2 * count:
        size *= 2
    return size


@njit(cache=True, nogil=True, inline="always")
def slot_of(slots: NDArray[np.int32], size: int, keys: NDArray[np.uint64], number: int) -> int:
    """The slot of key `number`, or the free slot (-1) for it."""
    mask = np.uint64(size - 1)
    slot = int(np.int64(keys[number] & mask))  # unsigned, it would make the sums below floats
    while slots[slot] >= 0 and keys[slots[slot]] != keys[number]:
        slot = (slot + 1) & (size - 1)
    return slot


@njit(cache=True, nogil=True)
def count_duplicates(keys: NDArray[np.uint64], characters: NDArray[np.int64]) -> Any:
    """Their number and their characters, and how many of both are duplicates."""
    size = capacity(keys.size)
    slots = np.full(size, -1, dtype=np.int32)
    total, duplicates, duplicate_characters = 0, 0, 0
    for number in range(keys.size):
        total += characters[number]
        slot = slot_of(slots, size, keys, number)
        if slots[slot] >= 0:
            duplicates, duplicate_characters = duplicates + 1, duplicate_characters + characters[number]
        else:
            slots[slot] = number
    return keys.size, total, duplicates, duplicate_characters


@njit(cache=True, nogil=True)
def count_lines(lines: Any) -> Any:
    """Counts of lines, their characters and their duplicates."""
    keys, characters = np.empty(lines.size, dtype=np.uint64), np.empty(lines.size, dtype=np.int64)
    for number in range(lines.size):
        keys[number], characters[number] = lines[number].hash, lines[number].characters
    return count_duplicates(keys, characters)


@njit(cache=True, nogil=True)
def count_paragraphs(lines: Any) -> Any:
    """Counts of paragraphs, their characters and their duplicates."""
    keys, characters = np.empty(lines.size, dtype=np.uint64), np.empty(lines.size, dtype=np.int64)
    count = 0
    for line in lines:
        if line.marks & FIRST:
            keys[count], characters[count] = GOLDEN, 0
            count += 1
        keys[count - 1] = join(keys[count - 1], line.hash)
        characters[count - 1] += line.characters
    return count_duplicates(keys[:count], characters[:count])


@njit(cache=True, nogil=True)
def count_ngrams(hashes: NDArray[np.uint64], lengths: NDArray[np.int32], smallest: int, largest: int) -> Any:
    """Characters of all words; by n those in the most frequent n-gram, and those in n-grams that occurred earlier."""
    top, duplicate = np.zeros(largest + 1, dtype=np.int64), np.zeros(largest + 1, dtype=np.int64)
    ends = np.zeros(hashes.size + 1, dtype=np.int64)
    for number in range(hashes.size):
        ends[number + 1] = ends[number] + lengths[number]
    count = max(hashes.size - smallest + 1, 0)
    places, keys = np.arange(count, dtype=np.int32), np.empty(count, dtype=np.uint64)
    for place in range(count):
        key = GOLDEN
        for more in range(smallest):
            key = join(key, hashes[place + more])
        keys[place] = key
    slots = np.empty(capacity(count), dtype=np.int32)
    firsts, counts = np.empty(count, dtype=np.int32), np.empty(count, dtype=np.int32)
    for n in range(smallest, largest + 1):
        size = capacity(count)
        slots[:size], counts[:count] = -1, 0
        covered = 0
        for number in range(count):
            slot = slot_of(slots, size, keys, number)
            if slots[slot] < 0:
                slots[slot] = number
            else:
                start, covered = max(places[number], covered), places[number] + n
                duplicate[n] += ends[covered] - ends[start]
            firsts[number] = slots[slot]
            counts[slots[slot]] += 1
        best, best_characters = -1, 0
        for number in range(count):
            if counts[number] > 1:
                characters = ends[places[number] + n] - ends[places[number]]
                if best < 0 or (counts[number], characters) > (counts[best], best_characters):
                    best, best_characters = number, characters
        kept, covered = 0, 0
        for number in range(count):
            place = places[number]
            if firsts[number] == best:
                start, covered = max(place, covered), place + n
                top[n] += ends[covered] - ends[start]
            if counts[firsts[number]] > 1 and place + n < hashes.size:
                places[kept], keys[kept] = place, join(keys[number], hashes[place + n])
                kept += 1
        count = kept
    return ends[hashes.size], top, duplicate
