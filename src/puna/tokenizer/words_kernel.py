"""Compiled passes over UTF-8 bytes: cut them into words, number the words, put the words' ids in a row."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from puna.tokenizer.cuts import ALWAYS, BEFORE_LETTER

LONGEST = 64
"""Bytes of the longest word that is kept; longer ones rarely repeat."""

PROBES = 64
"""Places in the table that a word may take, so that words made to collide cost no more than long ones."""

_FNV = np.uint64(0x100000001B3)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True, inline="always")
def is_letter(byte: int) -> bool:
    """Whether a byte is an ASCII letter."""
    return ord("a") <= byte | 0x20 <= ord("z")


@njit(cache=True, nogil=True)
def number_words(
    data: NDArray[np.uint8],
    start: int,
    cuts: NDArray[np.uint8],
    table: NDArray[np.uint64],
    letters: NDArray[np.uint8],
    ends: NDArray[np.int64],
    count: int,
    numbers: NDArray[np.int32],
    others: NDArray[np.int64],
) -> tuple[int, int, int, int]:
    """Number the words of `data` from byte `start` on, until the data end or an array is full.

    Args:
        data: (bytes,)
        start: Where a word begins.
        cuts: (256, 256), whether a word ends between two bytes, as `puna.tokenizer.cuts` has it.
        table: (a power of two,), open addressing: half a hash and the number of a word plus one; 0 is free. Changed.
        letters: The bytes of all words kept, one after the other. Changed.
        ends: `ends[number + 1]` is where that word ends in `letters`. Changed.
        count: How many words are kept.
        numbers: Out: the number of each word of the data, or -1, -2, … for those that are not kept.
        others: Out: (words that are not kept, 2), the first byte of each and that after its last one.

    Returns:
        Where the next word begins, how many words are kept now, and how many `numbers` and `others` there are.
    """
    mask, made, n_others = np.uint64(table.size - 1), 0, 0
    while start < data.size and made < numbers.size and n_others < len(others):
        previous = data[start]
        value = np.uint64(previous)
        end = start + 1
        while end < data.size:
            cut = cuts[previous, data[end]]
            if cut == ALWAYS or (cut == BEFORE_LETTER and end + 1 < data.size and is_letter(data[end + 1])):
                break
            previous = data[end]
            value = (value ^ np.uint64(previous)) * _FNV
            end += 1
        length, number = end - start, -1
        if length <= LONGEST:
            value *= _GOLDEN
            half = value >> np.uint64(32)
            for probe in range(PROBES):
                place = (half + np.uint64(probe)) & mask
                slot = table[place]
                if slot == 0:
                    if count + 1 == ends.size or ends[count] + length > letters.size:
                        return start, count, made, n_others
                    letters[ends[count] : ends[count] + length] = data[start:end]
                    ends[count + 1] = ends[count] + length
                    number = count
                    count += 1
                    table[place] = (value << np.uint64(32)) | np.uint64(count)
                    break
                if slot >> np.uint64(32) == value & np.uint64(0xFFFFFFFF):
                    found = np.int64(slot & np.uint64(0xFFFFFFFF)) - 1
                    begin, at = ends[found], 0
                    if ends[found + 1] - begin == length:
                        while at < length and letters[begin + at] == data[start + at]:
                            at += 1
                        if at == length:
                            number = found
                            break
        if number < 0:
            others[n_others, 0] = start
            others[n_others, 1] = end
            n_others += 1
            number = -n_others
        numbers[made] = number
        made += 1
        start = end
    return start, count, made, n_others


@njit(cache=True, nogil=True)
def join_ids(
    numbers: NDArray[np.int32],
    ids: NDArray[np.uint32],
    ends: NDArray[np.int64],
    other_ids: NDArray[np.uint32],
    other_ends: NDArray[np.int64],
) -> NDArray[np.uint32]:
    """The ids of numbered words in a row.

    Args:
        numbers: As `number_words` gives them.
        ids: Ids of all words kept, one word after the other.
        ends: `ends[number + 1]` is where that word's ids end.
        other_ids: Ids of the words that are not kept.
        other_ends: Where they end, 0 before the first.
    """
    size = 0
    for number in numbers:
        if number >= 0:
            size += ends[number + 1] - ends[number]
        else:
            size += other_ends[-number] - other_ends[-number - 1]
    out = np.empty(size, dtype=np.uint32)
    at = 0
    for number in numbers:
        if number >= 0:
            for place in range(ends[number], ends[number + 1]):
                out[at] = ids[place]
                at += 1
        else:
            for place in range(other_ends[-number - 1], other_ends[-number]):
                out[at] = other_ids[place]
                at += 1
    return out
