import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.data.models.ngram_kernel import BASE, find_ngrams, make_filter, ngram_hashes

hashes = st.lists(st.integers(0, 2**64 - 1), max_size=60).map(lambda values: np.array(values, dtype=np.uint64))


def slow(words: list[int], n: int) -> list[int]:
    """Each sum for itself, in whole numbers."""
    return [
        sum(word * BASE ** (n - 1 - place) for place, word in enumerate(words[at : at + n])) % 2**64
        for at in range(len(words) - n + 1)
    ]


@given(hashes, st.integers(1, 20))
def test_the_rolling_hash_is_the_sum(words, n):
    assert ngram_hashes(words, n).tolist() == slow(words.tolist(), n)


@given(
    st.lists(st.integers(0, 5), max_size=60), st.lists(st.integers(0, 5), max_size=60), st.integers(1, 4),
    st.integers(6, 12),
)  # fmt: skip
def test_what_is_found_is_what_is_in_both(text, table, n, bits):
    # Words of six kinds only, so that many n-grams are in both.
    known = np.unique(ngram_hashes(np.array(table, dtype=np.uint64), n))
    places, indices = find_ngrams(np.array(text, dtype=np.uint64), n, known, make_filter(known, bits), bits)
    expected = [(at, value) for at, value in enumerate(slow(text, n)) if value in set(slow(table, n))]
    assert list(zip(places.tolist(), known[indices].tolist(), strict=True)) == expected


def test_many_matches_are_all_returned():
    words = np.arange(10_000, dtype=np.uint64)
    known = np.unique(ngram_hashes(words, 3))
    places, indices = find_ngrams(words, 3, known, make_filter(known, 18), 18)
    assert places.tolist() == list(range(9998))
    assert np.array_equal(known[indices], ngram_hashes(words, 3))


def test_the_filter_lets_few_strangers_through():
    random = np.random.default_rng(0)
    known = np.unique(random.integers(0, 2**64, 4096, dtype=np.uint64))
    bitmap = make_filter(known, 16)
    assert bitmap.size == 1024
    assert np.bitwise_count(bitmap).sum() == pytest.approx(4096 * (1 - 1 / 32), rel=0.02)


def test_no_difference_of_powers_is_divisible_by_more_than_the_docstring_says():
    powers = [pow(BASE, place, 2**64) for place in range(100)]
    for after in range(1, 100):
        for before in range(after):
            assert (powers[after] - powers[before]) % 2**9 != 0
