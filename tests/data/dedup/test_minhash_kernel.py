import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from puna.data.dedup.minhash_kernel import BASE, FINAL, fold_bands, minima, shingle_hashes

M32, M64 = 2**32 - 1, 2**64 - 1
words = st.lists(st.integers(0, M64), max_size=30).map(lambda values: np.array(values, dtype=np.uint64))


def finished(value: int) -> int:
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        value = (value ^ value >> 33) * factor & M64
    return value ^ value >> 33


def slow_shingles(values: list[int], ngram: int) -> list[int]:
    ngram = min(ngram, len(values))
    found = []
    for at in range(len(values) - ngram + 1 if ngram else 0):
        value = 0
        for word in values[at : at + ngram]:
            value = (value * int(BASE) + word) & M64
        found.append(finished(value))
    return found


def slow_minimum(hashes: list[int], mask: int, factor: int) -> int:
    found = []
    for value in hashes:
        value = ((value & M32) ^ mask) * factor & M32
        found.append((value ^ value >> 15) * int(FINAL) & M32)
    return min(found)


@given(words, st.integers(1, 9))
def test_shingles_are_those_of_the_slow_way(values, ngram):
    assert shingle_hashes(values, ngram).tolist() == slow_shingles(values.tolist(), ngram)


@given(words.filter(len), st.integers(1, 9), st.lists(st.integers(0, M32), min_size=1, max_size=40))
def test_minima_are_those_of_the_slow_way(values, ngram, masks):
    factors = [mask | 1 for mask in masks]
    found = minima(values, ngram, np.array(masks, dtype=np.uint32), np.array(factors, dtype=np.uint32))
    shingles = slow_shingles(values.tolist(), ngram)
    assert found.tolist() == [slow_minimum(shingles, *pair) for pair in zip(masks, factors, strict=True)]


def test_long_texts_lose_no_shingle_between_blocks():
    rng = np.random.default_rng(0)
    for count in (4095, 4096, 4100, 4101, 9000):
        values = rng.integers(0, M64, count, dtype=np.uint64)
        masks = rng.integers(0, M32, 4, dtype=np.uint32)
        for ngram in (1, 5):
            hashes = shingle_hashes(values, ngram).tolist()
            assert len(hashes) == count - ngram + 1
            found = minima(values, ngram, masks, masks | np.uint32(1)).tolist()
            assert found == [slow_minimum(hashes, mask, mask | 1) for mask in masks.tolist()]


def test_a_band_is_known_by_its_number_and_each_of_its_minima_in_their_places():
    least = np.array([1, 2, 3, 4, 1, 2, 3, 4], dtype=np.uint32)
    keys = fold_bands(least, 2).tolist()
    assert keys[0] != keys[1]
    for place in range(8):
        other = least.copy()
        other[place] ^= 1 << 31
        changed = fold_bands(other, 2).tolist()
        assert [one == two for one, two in zip(keys, changed, strict=True)] == [place >= 4, place < 4]
    assert fold_bands(least[[1, 0, 2, 3, 4, 5, 6, 7]], 2)[0] != keys[0]
