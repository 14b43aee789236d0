import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.search.suffixes import suffix_order


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=60), st.sampled_from([6, 300, 70_000]), st.integers(0, 100))
def test_order_is_that_of_sorting_all_suffixes(small: list[int], vocabulary: int, seed: int):
    rng = np.random.default_rng(seed)
    rank_of = rng.permutation(vocabulary).astype(np.int32)
    chosen = rng.choice(vocabulary, 6)  # few, so that suffixes begin alike
    tokens = chosen[small].astype(np.uint32)
    suffixes, first_of = suffix_order(tokens, rank_of)
    ranks = rank_of[tokens].tolist()
    assert suffixes.tolist() == sorted(range(len(ranks)), key=lambda at: ranks[at:])
    assert (
        first_of.tolist() == [sum(rank < one for rank in ranks) for one in range(vocabulary + 1)]
        if vocabulary < 400
        else True
    )
    assert first_of[-1] == len(tokens)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_tokens_of_both_widths_have_the_same_order(dtype: type):
    tokens = np.array([3, 1, 2, 3, 1], dtype)
    assert suffix_order(tokens, np.arange(4, dtype=np.int32))[0].tolist() == [4, 1, 2, 3, 0]
