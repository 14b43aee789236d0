"""MinHash signatures of texts and the keys under which near duplicates meet.

A document's *shingles* are its n-grams of normalised words (`puna.data.text.words`); one with fewer words has a single
shingle of all of them. Each of K hash functions gives the document's least hash; two documents agree on one with the
probability of their Jaccard similarity J, so the share on which they agree estimates J with standard deviation
sqrt(J (1 - J) / K) (Broder 1997). In bands of r minima each, documents of similarity s meet in at least one of b bands
with probability 1 - (1 - s^r)^b (Leskovec, Rajaraman and Ullman, *Mining of Massive Datasets*, section 3.4).

Signatures are the same on every machine and for ever. The first minima of a longer signature are the shorter one.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from puna.data.text.words import composed, word_hashes

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def signature(text: str, ngram: int, hashes: int) -> NDArray[np.uint32]:
    """The least hash of the text's shingles by each of `hashes` functions; empty if the text has no words."""
    return signature_of_words(text_words(text), ngram, hashes)


def signature_of_words(words: NDArray[np.uint64], ngram: int, hashes: int) -> NDArray[np.uint32]:
    """`signature` of a text, from the hashes of its normalised words."""
    from puna.data.dedup.minhash_kernel import minima  # numba takes half a second, which not every command needs

    return minima(words, ngram, *_functions(hashes)) if len(words) else np.empty(0, dtype=np.uint32)


def shingles(words: NDArray[np.uint64], ngram: int) -> NDArray[np.uint64]:
    """The hash of each n-gram of words, in order; one of all words if there are fewer, none without words."""
    from puna.data.dedup.minhash_kernel import shingle_hashes

    return shingle_hashes(words, ngram)


def band_keys(minima: NDArray[np.uint32], bands: int) -> NDArray[np.uint64]:
    """One key for each band of a signature: equal for equal minima of the same band, else different.

    A text without words has none: empty texts do not count as copies of each other.
    """
    from puna.data.dedup.minhash_kernel import fold_bands

    if len(minima) % bands:
        raise ValueError(f"{len(minima)} minima cannot be split into {bands} equal bands")
    return fold_bands(minima, bands if len(minima) else 0)


def text_words(text: str) -> NDArray[np.uint64]:
    """The hashes of the normalised words of a text, composed before."""
    return word_hashes(np.frombuffer(composed(text).encode(), dtype=np.uint8))


@lru_cache(maxsize=8)
def _functions(hashes: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """The numbers that the hash functions xor and multiply with, from SplitMix64 (Steele, Lea and Flood 2014)."""
    state = _GOLDEN * np.arange(1, hashes + 1, dtype=np.uint64)
    state = (state ^ state >> np.uint64(30)) * _FACTORS[0]
    state = (state ^ state >> np.uint64(27)) * _FACTORS[1]
    state ^= state >> np.uint64(31)
    return state.astype(np.uint32), (state >> np.uint64(32)).astype(np.uint32) | np.uint32(1)
