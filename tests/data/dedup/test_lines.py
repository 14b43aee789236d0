from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from puna.data.dedup.lines import repeated


@given(st.lists(st.integers(0, 12) | st.just(2**64 - 1), max_size=40))
def test_hashes_that_stand_more_than_once_are_found_once(hashes):
    expected = sorted(value for value, count in Counter(hashes).items() if count > 1)
    assert repeated(np.array(hashes, dtype=np.uint64)).tolist() == expected


def test_memory_is_as_stated(peak_bytes):
    hashes = np.random.default_rng(0).integers(0, 150_000, 200_000, dtype=np.uint64)
    again = sum(count for count in Counter(hashes.tolist()).values() if count > 1)
    assert peak_bytes(lambda: repeated(hashes)) < len(hashes) + 17 * again  # and eight more for the hashes themselves
