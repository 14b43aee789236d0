"""Compiled pass over UTF-8 bytes that hashes normalised words."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from puna.data.text.kernel_constants import ALONE, FNV_OFFSET, FNV_PRIME, MIX_1, MIX_2, REMOVED, SPACE

OFFSET, PRIME = np.uint64(FNV_OFFSET), np.uint64(FNV_PRIME)
FACTOR_1, FACTOR_2, SHIFT = np.uint64(MIX_1), np.uint64(MIX_2), np.uint64(33)


@njit(cache=True, nogil=True, inline="always")
def decode(data: NDArray[np.uint8], at: int) -> tuple[int, int]:
    """The code point at a byte that is not ASCII, and its number of bytes; U+FFFD and 1 if it is not valid."""
    byte, left = int(data[at]), data.size - at
    if 0xC2 <= byte < 0xE0 and left > 1:
        return (byte & 0x1F) << 6 | (data[at + 1] & 0x3F), 2
    if 0xE0 <= byte < 0xF0 and left > 2:
        return (byte & 0x0F) << 12 | np.int64(data[at + 1] & 0x3F) << 6 | (data[at + 2] & 0x3F), 3
    if 0xF0 <= byte < 0xF5 and left > 3:
        high = (byte & 0x07) << 18 | np.int64(data[at + 1] & 0x3F) << 12
        code = high | np.int64(data[at + 2] & 0x3F) << 6 | (data[at + 3] & 0x3F)
        if code < 0x110000:
            return code, 4
    return 0xFFFD, 1


@njit(cache=True, nogil=True, inline="always")
def absorb(value: np.uint64, code: int) -> np.uint64:
    """The FNV-1a hash with the UTF-8 bytes of one more character."""
    if code < 0x80:
        return (value ^ np.uint64(code)) * PRIME
    if code < 0x800:
        value = (value ^ np.uint64(0xC0 | code >> 6)) * PRIME
    else:
        if code < 0x10000:
            value = (value ^ np.uint64(0xE0 | code >> 12)) * PRIME
        else:
            value = (value ^ np.uint64(0xF0 | code >> 18)) * PRIME
            value = (value ^ np.uint64(0x80 | code >> 12 & 0x3F)) * PRIME
        value = (value ^ np.uint64(0x80 | code >> 6 & 0x3F)) * PRIME
    return (value ^ np.uint64(0x80 | code & 0x3F)) * PRIME


@njit(cache=True, nogil=True, inline="always")
def finish(value: np.uint64) -> np.uint64:
    """The finaliser of MurmurHash3, which spreads FNV's weak high bits."""
    value = (value ^ value >> SHIFT) * FACTOR_1
    value = (value ^ value >> SHIFT) * FACTOR_2
    return value ^ value >> SHIFT


@njit(cache=True, nogil=True)
def scan_words(data: NDArray[np.uint8], classes: NDArray[np.uint8], lower: NDArray[np.int32]) -> Any:
    """Hash and length in characters of each normalised word."""
    hashes = np.empty((data.size + 1) // 2, dtype=np.uint64)
    lengths = np.empty((data.size + 1) // 2, dtype=np.int32)
    count, length, value, at = 0, 0, OFFSET, 0
    while at < data.size:
        code, width = int(data[at]), 1
        if code >= 0x80:
            code, width = decode(data, at)
        at += width
        kind = classes[code]
        if kind & REMOVED:
            continue
        if length and kind & (SPACE | ALONE):
            hashes[count], lengths[count] = finish(value), length
            count, length, value = count + 1, 0, OFFSET
        if kind & SPACE:
            continue
        if code < lower.size:
            code = int(lower[code])
        value, length = absorb(value, code), length + 1
        if kind & ALONE:
            hashes[count], lengths[count] = finish(value), 1
            count, length, value = count + 1, 0, OFFSET
    if length:
        hashes[count], lengths[count] = finish(value), length
        count += 1
    return hashes[:count], lengths[:count]
