"""Seeded shuffles of range(n) that need no memory: any element of any of them can be computed on its own.

A Feistel network permutes the numbers below the smallest power of two that is not below n; a result that is not below n
is permuted again until it is (cycle walking; Black and Rogaway 2002, "Ciphers with arbitrary finite domains"), less
than twice on average. It mixes well; it is not cryptography.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from puna.core.files import sha256_json

_ROUNDS = 6
_Step: TypeAlias = Callable[[NDArray[np.uint64], NDArray[np.uint64]], NDArray[np.uint64]]


class Permutation:
    """A family of bijections of range(n) onto itself, one for each tweak.

    Args:
        n: How many numbers there are, up to 2^62.
        key: Any value that JSON can hold; equal keys give equal families.
    """

    def __init__(self, n: int, key: Any) -> None:
        if not 0 < n <= 1 << 62:
            raise ValueError(f"a permutation of {n} numbers")
        self._n = n
        bits = (n - 1).bit_length()
        self._low_bits = np.uint64(bits - bits // 2)
        self._low = np.uint64((1 << (bits - bits // 2)) - 1)
        self._high = np.uint64((1 << (bits // 2)) - 1)
        digest = sha256_json(key)
        self._keys = [np.uint64(int(sha256_json([digest, number])[:16], 16)) for number in range(_ROUNDS)]

    def __call__(self, numbers: NDArray[np.int64], tweaks: ArrayLike) -> NDArray[np.int64]:
        """The images of `numbers`, each in range(n).

        Args:
            numbers: One-dimensional, each in range(n).
            tweaks: The number of the bijection, for each number or for all: whole numbers from 0.
        """
        return self._within(self._permute, numbers, tweaks)

    def inverse(self, images: NDArray[np.int64], tweaks: ArrayLike) -> NDArray[np.int64]:
        """The numbers whose images these are: what `__call__` was given.

        Args:
            images: One-dimensional, each in range(n).
            tweaks: As there.
        """
        return self._within(self._undo, images, tweaks)

    def _within(self, step: _Step, numbers: NDArray[np.int64], tweaks: ArrayLike) -> NDArray[np.int64]:
        """What a step makes of numbers, taken again where that is not in range(n)."""
        tweaks = np.broadcast_to(np.asarray(tweaks, dtype=np.uint64), numbers.shape)
        made = step(numbers.astype(np.uint64), tweaks)
        outside = np.flatnonzero(made >= self._n)
        while len(outside):
            made[outside] = step(made[outside], tweaks[outside])
            outside = outside[made[outside] >= self._n]
        return made.astype(np.int64)

    def _undo(self, images: NDArray[np.uint64], tweaks: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """The rounds of `_permute` from the last to the first."""
        high, low = images >> self._low_bits, images & self._low
        for number in reversed(range(_ROUNDS)):
            round_keys = _mix(tweaks ^ self._keys[number])
            if number % 2:
                high ^= _mix(low ^ round_keys) & self._high
            else:
                low ^= _mix(high ^ round_keys) & self._low
        return (high << self._low_bits) | low

    def _permute(self, numbers: NDArray[np.uint64], tweaks: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Each round changes one half by a function of the other, so that the same round would undo it."""
        high, low = numbers >> self._low_bits, numbers & self._low
        for number, key in enumerate(self._keys):
            round_keys = _mix(tweaks ^ key)
            if number % 2:
                high ^= _mix(low ^ round_keys) & self._high
            else:
                low ^= _mix(high ^ round_keys) & self._low
        return (high << self._low_bits) | low


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele et al. 2014): every input bit changes every output bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
