from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.core.errors import DataError
from puna.data.mixture import BLOCK, Mixture

shares = st.lists(st.floats(0.01, 100), min_size=1, max_size=7)


def _mixture(values: list[float], seed: int = 0) -> Mixture:
    return Mixture({f"source{number}": value for number, value in enumerate(values)}, seed)


@given(values=shares)
def test_quotas_are_the_shares_by_largest_remainder(values: list[float]):
    total = sum(map(Fraction, values))
    exact = [Fraction(value) / total * BLOCK for value in values]
    quotas = _mixture(values).quotas
    assert quotas.sum() == BLOCK
    assert all(abs(quota - share) < 1 + 1e-6 for quota, share in zip(quotas.tolist(), exact, strict=True))
    remainders = {up: [e - int(e) for e, q in zip(exact, quotas, strict=True) if (q > int(e)) == up] for up in (0, 1)}
    if remainders[0] and remainders[1]:
        assert min(remainders[1]) >= max(remainders[0]) - Fraction(1, 10**6)


def test_every_block_holds_each_source_as_often_as_its_quota():
    mixture = _mixture([0.67, 0.15, 0.045, 0.045, 0.045, 0.025, 0.02], seed=5)
    for block in (0, 1, 12345):
        labels, _ = mixture.block(block)
        assert np.array_equal(np.bincount(labels), mixture.quotas)


def test_a_source_is_read_in_its_own_order_without_a_gap():
    mixture = _mixture([3.0, 1.0, 0.001])
    blocks = [mixture.block(block) for block in range(3)]
    labels, numbers = (np.concatenate(part) for part in zip(*blocks, strict=True))
    for source in range(3):
        mine = numbers[labels == source]
        assert np.array_equal(mine, np.arange(3 * mixture.quotas[source]))


def test_shares_hold_at_every_moment_as_closely_as_in_a_draw_without_replacement():
    mixture = _mixture([0.85, 0.1, 0.05], seed=2)
    labels = np.concatenate([mixture.block(block)[0] for block in range(2)])
    seen = np.arange(1, len(labels) + 1)
    for source, quota in enumerate(mixture.quotas):
        share = quota / BLOCK
        deviation = np.abs(np.cumsum(labels == source) - seen * share)
        # Six standard deviations of a binomial draw, which is wider than one without replacement.
        assert (deviation <= 6 * np.sqrt(seen * share * (1 - share)) + 1).all()


def test_blocks_and_seeds_have_orders_of_their_own():
    orders = {_mixture([1.0, 1.0], seed).block(block)[0].tobytes() for seed in range(3) for block in range(3)}
    assert len(orders) == 9


def test_a_block_is_the_same_whoever_asks_for_it_and_when():
    mixture = _mixture([2.0, 1.0], seed=9)
    mixture.block(0)
    assert np.array_equal(mixture.block(7), _mixture([2.0, 1.0], seed=9).block(7))


def test_a_share_below_one_sequence_in_a_block_is_refused_by_name():
    with pytest.raises(DataError, match=r"mixture\.rare is 1e-09 of 1: less than one sequence"):
        Mixture({"common": 1.0, "rare": 1e-9}, 0)
