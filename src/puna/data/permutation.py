"""A seeded shuffle of range(n) that needs no memory: any element of it can be computed on its own.

A Feistel network permutes the numbers of 2k bits; where a result is not below n it is permuted again until it is (cycle
walking; Black and Rogaway 2002, "Ciphers with arbitrary finite domains"). It mixes well; it is no cryptography.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from puna.core.files import sha256_json

_ROUNDS = 6


class Permutation:
    """A bijection of range(n) onto itself.

    Args:
        n: How many numbers there are, up to 2^62.
        key: Anything that JSON can hold; equal keys give equal permutations.
    """

    def __init__(self, n: int, key: Any) -> None:
        if not 0 < n <= 1 << 62:
            raise ValueError(f"a permutation of {n} numbers")
        self.n = n
        self._half = max(1, ((n - 1).bit_length() + 1) // 2)
        self._mask = np.uint64((1 << self._half) - 1)
        digest = sha256_json(key)
        self._keys = [np.uint64(int(sha256_json([digest, number])[:16], 16)) for number in range(_ROUNDS)]

    def __call__(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The images of `numbers`, each in range(n)."""
        images = self._encrypt(numbers.astype(np.uint64))
        while (outside := images >= self.n).any():
            images[outside] = self._encrypt(images[outside])
        return images.astype(np.int64)

    def _encrypt(self, numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
        half = np.uint64(self._half)
        left, right = numbers >> half, numbers & self._mask
        for key in self._keys:
            left, right = right, left ^ (_mix(right ^ key) & self._mask)
        return (left << half) | right


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele et al. 2014): every input bit changes every output bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
