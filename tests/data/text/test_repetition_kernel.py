"""The table that finds equal hashes."""

import numpy as np
import pytest

from puna.data.text.repetition_kernel import capacity, count_duplicates, count_ngrams


@pytest.mark.parametrize("count", [0, 1, 2, 3, 1000, 1024, 1025])
def test_the_table_is_a_power_of_two_and_at_most_half_full(count: int):
    size = capacity(count)
    assert size >= max(2 * count, 1)
    assert size & (size - 1) == 0


def test_keys_that_fall_on_the_same_slot_are_told_apart():
    keys = np.arange(1000, dtype=np.uint64) << np.uint64(32)
    sizes = np.arange(1000, dtype=np.int64)
    assert count_duplicates(keys, sizes) == (1000, 499500, 0, 0)
    assert count_duplicates(np.concatenate([keys, keys[:10]]), np.append(sizes, [7] * 10)) == (1010, 499570, 10, 70)


def test_words_that_fall_on_the_same_slot_are_told_apart():
    words = np.tile(np.arange(100, dtype=np.uint64) << np.uint64(32), 2)
    total, top, duplicate = count_ngrams(words, np.ones(200, dtype=np.int32), 1, 3)
    assert (total, top.tolist(), duplicate.tolist()) == (200, [0, 2, 4, 6], [0, 100, 100, 100])
